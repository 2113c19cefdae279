//! rten (Rust): what case.py says is read and written.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rten::{Model, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};

const TIME: Duration = Duration::from_secs(4);

type Input = (String, NdTensor<f32, 4>, NdTensor<i32, 3>);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, form, _precision] = arguments.as_slice() else {
        return Err("FOLDER OUT FORM PRECISION".into());
    };
    let (folder, out) = (Path::new(folder), Path::new(out));
    let inputs = inputs(folder, form)?;
    let model = Model::load_file(folder.join(format!("{form}.onnx")))?;
    let ids = [model.node_id("images")?, model.node_id("mask")?];
    let outputs = [model.node_id("pred_logits")?, model.node_id("pred_boxes")?];
    let options = RunOptions::default().with_thread_pool(Some(ThreadPool::with_num_threads(2).into()));
    let run = |(_, images, mask): &Input| {
        let given: Vec<(_, ValueOrView)> = vec![(ids[0], images.view().into()), (ids[1], mask.view().into())];
        model.run_n::<2>(given, outputs, Some(options.clone()))
    };
    for input in &inputs {
        for (kind, value) in ["logits", "boxes"].into_iter().zip(run(input)?) {
            let tensor: Tensor<f32> = value.try_into()?;
            let bytes: Vec<u8> = tensor.iter().flat_map(|number| number.to_le_bytes()).collect();
            fs::write(out.join(format!("{}.{kind}", input.0)), bytes)?;
        }
    }
    let mut quickest = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed() < TIME || quickest.is_infinite() {
        let start = Instant::now();
        run(&inputs[0])?;
        quickest = quickest.min(start.elapsed().as_secs_f64());
    }
    println!(r#"{{"version": "0.27.0", "seconds": {quickest}}}"#);
    Ok(())
}

fn inputs(folder: &Path, form: &str) -> Result<Vec<Input>, Box<dyn Error>> {
    let count = if form == "free" { usize::MAX } else { 1 };
    let mut found = vec![];
    for line in fs::read_to_string(folder.join("inputs.txt"))?.lines().take(count) {
        let mut words = line.split(' ');
        let name = words.next().ok_or("a line without a name")?.to_string();
        let sizes = words.map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let bytes = fs::read(folder.join(format!("{name}.images")))?;
        let pixels = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        let images = NdTensor::from_data([sizes[0], 3, sizes[1], sizes[2]], pixels.collect::<Vec<f32>>());
        let mask: Vec<i32> = fs::read(folder.join(format!("{name}.mask")))?.into_iter().map(i32::from).collect();
        let mask = NdTensor::from_data([sizes[0], sizes[1], sizes[2]], mask);
        found.push((name, images, mask));
    }
    Ok(found)
}
