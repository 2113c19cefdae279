//! People and their emotions in a photo, without Python:
//!
//! ```text
//! cargo run --release --example predict -- photo.jpg weights.safetensors
//! ```

use dsct::checkpoint::Checkpoint;
use dsct::photo;
use dsct::post_process::PostProcess;
use tch::{no_grad, Tensor};

fn run(image_path: &str, weights_path: &str) -> dsct::Result<()> {
    let checkpoint = Checkpoint::read(weights_path)?;
    let model = checkpoint.model()?;
    let image = photo::read(image_path)?;
    let (_, height, width) = image.dim();
    let input = photo::prepare(image.view(), checkpoint.preprocess.unwrap_or_default())?;
    let output = no_grad(|| model.forward(&input, None))?;

    let least = 0.5 / model.config().num_classes as f64;
    let rule = PostProcess { nms_iou: Some(0.5), score_threshold: Some(least), ..PostProcess::default() };
    let sizes = Tensor::from_slice(&[height as i64, width as i64]).view([1, 2]);
    let found = rule.run(model.config(), &output.pred_logits, &output.pred_boxes, &sizes)?;
    for person in found[0].people()? {
        let names: Vec<&str> = person.labels.iter().map(|&class| model.config().class_names[class].as_str()).collect();
        let [x1, y1, x2, y2] = person.bounds;
        println!("[{x1:.0}, {y1:.0}, {x2:.0}, {y2:.0}]  score {:.3}  {}", person.score, names.join(", "));
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, weights] = arguments.as_slice() else {
        eprintln!("usage: predict IMAGE WEIGHTS.safetensors");
        std::process::exit(2);
    };
    if let Err(error) = run(image, weights) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
