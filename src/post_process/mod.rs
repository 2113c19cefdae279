//! From the outputs of the last decoder layer to people: boxes in pixels, scores, class probabilities and labels.
//!
//! Class probabilities are sigmoids, because the loss is a sigmoid focal loss. The score of a query is the mean of its C
//! class probabilities, or of its C logits (the paper's words). An extra logit beyond the C classes is ignored.

mod nms;

use ndarray::{
    Array, Array1, Array2, ArrayD, ArrayView1, ArrayView2, ArrayViewD, Axis, Dimension, Ix1, Ix2, Ix3, IxDyn,
};
use tch::{no_grad, Device, Kind, Tensor};

use crate::boxes::{box_corners, each_box, Corners};
use crate::config::Score;
use crate::{DsctConfig, Error, Result};

pub use nms::{batched_nms, nms};

/// What is reported and what is left out.
#[derive(Clone, Debug, Default)]
pub struct PostProcess {
    /// Multi-label: a class is reported where its probability exceeds this; one number, or one per class. Empty: 0.5.
    pub threshold: Vec<f64>,
    /// Of two people whose boxes overlap by a larger IoU, the one of lower score is left out.
    pub nms_iou: Option<f64>,
    /// People of lower score are left out.
    pub score_threshold: Option<f64>,
}

/// The n people of one image.
pub struct Detections {
    /// (n, 4) float32 corners in pixels, inside the image.
    pub boxes: Tensor,
    /// (n,) float32.
    pub scores: Tensor,
    /// (n, C) float32.
    pub probabilities: Tensor,
    /// (n,) int64, the most probable class, or (n, C) bool for a multi-label configuration.
    pub labels: Tensor,
    /// (n,) int64, number of the query that found the person.
    pub queries: Tensor,
}

/// One person, for callers without tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// x1, y1, x2, y2 in pixels.
    pub bounds: Corners,
    /// Mean class probability or logit.
    pub score: f64,
    /// One per class.
    pub probabilities: Vec<f64>,
    /// Classes that are reported, in ascending order.
    pub labels: Vec<usize>,
    /// Number of the query that found the person.
    pub query: usize,
}

impl Detections {
    /// The people one by one, in the order of the tensors.
    ///
    /// # Errors
    /// Those of copying to the host.
    pub fn people(&self) -> Result<Vec<Person>> {
        let (boxes, scores): (Array2<f64>, _) = (numbers(&self.boxes)?, numbers::<Ix1>(&self.scores)?);
        let (probabilities, queries) = (numbers::<Ix2>(&self.probabilities)?, numbers::<Ix1>(&self.queries)?);
        let labels = numbers::<IxDyn>(&self.labels)?;
        let reported = |labels: ArrayViewD<f64>| match labels.ndim() {
            0 => labels.iter().map(|&class| class as usize).collect(),
            _ => labels.iter().enumerate().filter(|(_, &shown)| shown != 0.0).map(|(class, _)| class).collect(),
        };
        let person = |(i, bounds): (usize, Corners)| Person {
            bounds,
            score: scores[i],
            probabilities: probabilities.row(i).to_vec(),
            labels: reported(labels.index_axis(Axis(0), i)),
            query: queries[i] as usize,
        };
        Ok(each_box(boxes.view()).enumerate().map(person).collect())
    }

    /// Those of the given numbers, in that order.
    fn select(&self, numbers: &[i64]) -> Result<Self> {
        let numbers = Tensor::f_from_slice(numbers)?.f_to_device(self.boxes.device())?;
        let of = |tensor: &Tensor| tensor.f_index_select(0, &numbers);
        Ok(Self {
            boxes: of(&self.boxes)?,
            scores: of(&self.scores)?,
            probabilities: of(&self.probabilities)?,
            labels: of(&self.labels)?,
            queries: of(&self.queries)?,
        })
    }
}

/// A tensor as numbers on the host.
fn numbers<D: Dimension>(tensor: &Tensor) -> Result<Array<f64, D>> {
    let flat = tensor.f_flatten(0, -1)?.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?;
    let shape: Vec<usize> = tensor.size().into_iter().map(|side| side as usize).collect();
    Ok(ArrayD::from_shape_vec(shape, Vec::try_from(flat)?)?.into_dimensionality()?)
}

impl PostProcess {
    /// Reads the people of every image.
    ///
    /// * `logits` (B, N, C'), `boxes` (B, N, 4) as centre and size in [0, 1].
    /// * `target_sizes` (B, 2), height and width of every image in pixels.
    ///
    /// Without `nms_iou` and `score_threshold` all N queries are returned in their order, else those kept, by falling
    /// score.
    ///
    /// # Errors
    /// Shapes, sizes and thresholds that do not fit; predictions that are not finite, with the image.
    pub fn run(
        &self,
        config: &DsctConfig,
        logits: &Tensor,
        boxes: &Tensor,
        target_sizes: &Tensor,
    ) -> Result<Vec<Detections>> {
        self.check(config, logits, boxes, target_sizes)?;
        no_grad(|| {
            let logits = logits.f_narrow(-1, 0, config.num_classes)?.f_to_kind(Kind::Float)?;
            let probabilities = logits.f_sigmoid()?;
            let scored = match config.score {
                Score::Probability => &probabilities,
                Score::Logit => &logits,
            };
            let scores = scored.f_mean_dim([-1].as_slice(), false, Kind::Float)?;
            let labels = match config.multi_label {
                true => probabilities.f_gt_tensor(&self.thresholds(logits.device())?)?,
                false => logits.f_argmax(-1, false)?,
            };
            let boxes = to_pixels(&boxes.f_to_kind(Kind::Float)?, target_sizes)?;
            let (batch, queries) = (logits.size()[0], logits.size()[1]);
            let found = |image: i64| -> Result<Detections> {
                let of = |tensor: &Tensor| tensor.f_select(0, image);
                Ok(Detections {
                    boxes: of(&boxes)?,
                    scores: of(&scores)?,
                    probabilities: of(&probabilities)?,
                    labels: of(&labels)?,
                    queries: Tensor::f_arange(queries, (Kind::Int64, logits.device()))?,
                })
            };
            if self.nms_iou.is_none() && self.score_threshold.is_none() {
                return (0..batch).map(found).collect();
            }
            let (boxes, scores) = (numbers::<Ix3>(&boxes)?, numbers::<Ix2>(&scores)?);
            let images = (0..batch).zip(boxes.outer_iter().zip(scores.outer_iter()));
            images.map(|(image, (boxes, scores))| found(image)?.select(&self.kept(boxes, scores)?)).collect()
        })
    }

    fn thresholds(&self, device: Device) -> Result<Tensor> {
        let threshold: &[f64] = if self.threshold.is_empty() { &[0.5] } else { &self.threshold };
        Ok(Tensor::f_from_slice(threshold)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
    }

    /// The queries that `score_threshold` and `nms_iou` keep, by falling score.
    fn kept(&self, boxes: ArrayView2<f64>, scores: ArrayView1<f64>) -> Result<Vec<i64>> {
        let mut kept = nms(boxes, scores, self.nms_iou.unwrap_or(f64::INFINITY))?;
        kept.retain(|&query| scores[query] >= self.score_threshold.unwrap_or(f64::NEG_INFINITY));
        Ok(kept.into_iter().map(|query| query as i64).collect())
    }

    fn check(&self, config: &DsctConfig, logits: &Tensor, boxes: &Tensor, target_sizes: &Tensor) -> Result<()> {
        let op = "PostProcess";
        let (size, width) = (logits.size(), config.num_logits());
        if size.len() != 3 || size[2] != width {
            return Err(Error::argument(op, "pred_logits", format!("(B, N, {width})"), size));
        }
        let (batch, queries) = (size[0], size[1]);
        if boxes.size() != [batch, queries, 4] {
            return Err(Error::argument(op, "pred_boxes", format!("({batch}, {queries}, 4)"), boxes.size()));
        }
        if target_sizes.size() != [batch, 2] {
            let expected = format!("({batch}, 2), height and width per image");
            return Err(Error::argument(op, "target_sizes", expected, target_sizes.size()));
        }
        let sizes: Array2<f64> = numbers(target_sizes)?;
        if let Some(size) =
            sizes.rows().into_iter().find(|size| !size.iter().all(|side| (0.0..f64::INFINITY).contains(side)))
        {
            return Err(Error::argument(op, "target_sizes", "finite pixels, none of them negative", size.to_vec()));
        }
        if !(self.threshold.len() < 2 || self.threshold.len() as i64 == config.num_classes) {
            let expected = format!("one number or one per class, {}", config.num_classes);
            return Err(Error::argument(op, "threshold", expected, self.threshold.len()));
        }
        for (name, tensor) in [("pred_logits", logits), ("pred_boxes", boxes)] {
            let finite: Array1<f64> = numbers(&tensor.f_isfinite()?.f_flatten(1, -1)?.f_all_dim(1, false)?)?;
            if let Some(image) = finite.iter().position(|&value| value == 0.0) {
                return Err(Error::Value(format!("{op}: {name} must be finite, got NaN or infinity in image {image}")));
            }
        }
        Ok(())
    }
}

/// Corner boxes in pixels, clipped to the image, from boxes (B, N, 4) as centre and size in [0, 1].
fn to_pixels(boxes: &Tensor, target_sizes: &Tensor) -> Result<Tensor> {
    let sizes = target_sizes.f_to_device(boxes.device())?.f_to_kind(boxes.kind())?;
    let scale = sizes.f_flip([1])?.f_repeat([1, 2])?.f_unsqueeze(1)?;
    let pixels = box_corners(boxes)?.f_mul(&scale)?;
    Ok(pixels.f_clamp_min(0.0)?.f_minimum(&scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_pixels_and_labels() {
        let config = DsctConfig { num_classes: 2, class_names: vec!["a".into(), "b".into()], ..DsctConfig::default() };
        let logits = Tensor::from_slice(&[-3.0f32, 2.0, 4.0, 5.0]).view([1, 2, 2]);
        let boxes = Tensor::from_slice(&[0.5f32, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0, 0.2]).view([1, 2, 4]);
        let sizes = Tensor::from_slice(&[100i64, 200]).view([1, 2]);
        let options = PostProcess { score_threshold: Some(0.0), ..PostProcess::default() };
        let people = options.run(&config, &logits, &boxes, &sizes).unwrap()[0].people().unwrap();
        assert_eq!(people[0].labels, [0, 1]);
        assert_eq!(people[1].labels, [1]);
        assert_eq!([people[0].query, people[1].query], [1, 0]);
        assert_eq!(people[1].bounds, [50.0, 25.0, 150.0, 75.0]);
        assert_eq!((people[0].bounds[0], people[0].bounds[2]), (0.0, 200.0));
    }
}
