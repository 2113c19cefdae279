//! From the outputs of the last decoder layer to people: boxes in pixels, scores, class probabilities and labels.
//!
//! Class probabilities are sigmoids, because the loss is a sigmoid focal loss. The score of a query is the mean of its C
//! class probabilities, or of its C logits (the paper's words). An extra logit beyond the C classes is ignored.

use tch::{no_grad, Device, Kind, Tensor};

use crate::boxes::{box_corners, iou, Corners};
use crate::config::Score;
use crate::{DsctConfig, Error, Result};

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
        let (boxes, scores, probabilities) = (rows(&self.boxes)?, rows(&self.scores)?, rows(&self.probabilities)?);
        let queries = rows(&self.queries)?;
        let multi_label = self.labels.dim() == 2;
        let person = |(i, labels): (usize, Vec<f64>)| Person {
            bounds: [boxes[i][0], boxes[i][1], boxes[i][2], boxes[i][3]],
            score: scores[i][0],
            probabilities: probabilities[i].clone(),
            labels: match multi_label {
                true => (0..labels.len()).filter(|&class| labels[class] != 0.0).collect(),
                false => vec![labels[0] as usize],
            },
            query: queries[i][0] as usize,
        };
        Ok(rows(&self.labels)?.into_iter().enumerate().map(person).collect())
    }
}

/// The rows of a tensor (n,) or (n, k) as numbers.
fn rows(tensor: &Tensor) -> Result<Vec<Vec<f64>>> {
    let flat = tensor.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?.f_flatten(0, -1)?;
    let (n, width) = (tensor.size()[0] as usize, tensor.size().get(1).map_or(1, |&width| width as usize));
    let flat: Vec<f64> = Vec::try_from(flat)?;
    Ok((0..n).map(|row| flat[row * width..(row + 1) * width].to_vec()).collect())
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
            (0..batch)
                .map(|image| {
                    let of = |tensor: &Tensor| tensor.f_select(0, image);
                    self.keep(Detections {
                        boxes: of(&boxes)?,
                        scores: of(&scores)?,
                        probabilities: of(&probabilities)?,
                        labels: of(&labels)?,
                        queries: Tensor::f_arange(queries, (Kind::Int64, logits.device()))?,
                    })
                })
                .collect()
        })
    }

    fn thresholds(&self, device: Device) -> Result<Tensor> {
        let threshold: &[f64] = if self.threshold.is_empty() { &[0.5] } else { &self.threshold };
        Ok(Tensor::f_from_slice(threshold)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
    }

    /// Leaves out what `score_threshold` and `nms_iou` say.
    fn keep(&self, found: Detections) -> Result<Detections> {
        if self.nms_iou.is_none() && self.score_threshold.is_none() {
            return Ok(found);
        }
        let boxes: Vec<Corners> = rows(&found.boxes)?.iter().map(|side| [side[0], side[1], side[2], side[3]]).collect();
        let scores: Vec<f64> = rows(&found.scores)?.concat();
        let mut kept = nms(&boxes, &scores, self.nms_iou.unwrap_or(f64::INFINITY));
        kept.retain(|&query| scores[query] >= self.score_threshold.unwrap_or(f64::NEG_INFINITY));
        let kept: Vec<i64> = kept.into_iter().map(|query| query as i64).collect();
        let kept = Tensor::f_from_slice(&kept)?.f_to_device(found.boxes.device())?;
        let of = |tensor: &Tensor| tensor.f_index_select(0, &kept);
        Ok(Detections {
            boxes: of(&found.boxes)?,
            scores: of(&found.scores)?,
            probabilities: of(&found.probabilities)?,
            labels: of(&found.labels)?,
            queries: kept,
        })
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
        if let Some(size) =
            rows(target_sizes)?.into_iter().find(|size| !size.iter().all(|side| (0.0..f64::INFINITY).contains(side)))
        {
            return Err(Error::argument(op, "target_sizes", "finite pixels, none of them negative", size));
        }
        if !(self.threshold.len() < 2 || self.threshold.len() as i64 == config.num_classes) {
            let expected = format!("one number or one per class, {}", config.num_classes);
            return Err(Error::argument(op, "threshold", expected, self.threshold.len()));
        }
        for (name, tensor) in [("pred_logits", logits), ("pred_boxes", boxes)] {
            let finite = rows(&tensor.f_isfinite()?.f_flatten(1, -1)?.f_all_dim(1, false)?)?.concat();
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

/// Greedy non-maximum suppression: indices of the boxes that are kept, by falling score, ties by lower index.
///
/// A box is left out where its IoU with one that is kept exceeds `threshold`. NaN is the lowest score.
///
/// # Panics
/// There are fewer scores than boxes.
pub fn nms(boxes: &[Corners], scores: &[f64], threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    // A total order: a sort may panic where NaN equals everything. Adding 0 makes one zero of both.
    let rank = |index: usize| if scores[index].is_nan() { f64::NEG_INFINITY } else { scores[index] + 0.0 };
    order.sort_by(|&a, &b| rank(b).total_cmp(&rank(a)));
    let mut kept: Vec<usize> = Vec::new();
    for candidate in order {
        if kept.iter().all(|&other| iou(boxes[other], boxes[candidate]) <= threshold) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nms_keeps_the_best_of_a_group() {
        let boxes = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 6.0], [20.0, 0.0, 30.0, 10.0], [0.0, 0.0, 10.0, 5.0]];
        let scores = [0.5, 0.9, 0.2, 0.5];
        // IoU with box 1: 0.6 for box 0, 5/6 for box 3.
        assert_eq!(nms(&boxes, &scores, 0.5), [1, 2]);
        assert_eq!(nms(&boxes, &scores, 0.7), [1, 0, 2]);
        assert_eq!(nms(&boxes, &scores, 1.0), [1, 0, 3, 2]);
        assert!(nms(&[], &[], 0.5).is_empty());
    }

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
