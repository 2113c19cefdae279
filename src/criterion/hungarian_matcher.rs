//! One-to-one assignment of least cost between the N queries and the subjects of each image, for all images and decoder
//! layers at once.
//!
//! cost = cost_class · class + cost_bbox · |box − box'|₁ − cost_giou · GIoU, with p = sigmoid(logit) and per class
//!
//! * pos = α·(1 − p)^γ·(−log(p + 1e-8)), neg = (1 − α)·p^γ·(−log(1 − p + 1e-8));
//! * class = pos − neg of the subject's class, or for several labels the mean over the C classes of (pos − neg)·label.
//!
//! An extra logit beyond the C classes takes no part. Everything that the costs depend on is copied to the host once;
//! there each image sees its own subjects only, in float64 and in parallel.

use ndarray::{s, Array1, Array2, ArrayView2, ArrayView4};
use tch::kind::Element;
use tch::{no_grad, Device, Kind, Tensor};

use super::linear_assignment::linear_assignment;
use super::predictions::{output_name, Predictions};
use super::targets::Targets;
use crate::boxes::{corners, each_box, giou, Corners};
use crate::{threads, DsctConfig, Error, Result};

/// Matched (query, subject) of every layer and image, sorted by query; subjects count from 0 within their image.
pub struct Matching {
    pairs: Vec<Vec<(usize, usize)>>,
    batch: usize,
}

impl Matching {
    /// The pairs of one image in one decoder layer.
    pub fn pairs(&self, layer: usize, image: usize) -> &[(usize, usize)] {
        &self.pairs[layer * self.batch + image]
    }

    /// All pairs as (2, K) int64, layer after layer, image after image: row 0 holds queries, row 1 subjects, each with
    /// the number of the first one of its item added (item = layer · B + image).
    pub(super) fn indices(
        &self,
        device: Device,
        query_start: impl Fn(usize) -> usize,
        subject_start: impl Fn(usize) -> usize,
    ) -> Result<Tensor> {
        let (mut queries, mut subjects) = (Vec::new(), Vec::new());
        for (item, pairs) in self.pairs.iter().enumerate() {
            queries.extend(pairs.iter().map(|pair| (query_start(item) + pair.0) as i64));
            subjects.extend(pairs.iter().map(|pair| (subject_start(item) + pair.1) as i64));
        }
        let size = [2, queries.len() as i64];
        queries.extend(subjects);
        Ok(Tensor::f_from_slice(&queries)?.f_view(size)?.f_to_device(device)?)
    }

    /// Per layer and image the matched queries and subjects, int64 tensors on `device`.
    ///
    /// # Errors
    /// The device cannot hold them.
    pub fn tensors(&self, device: Device) -> Result<Vec<(Tensor, Tensor)>> {
        let indices = self.indices(device, |_| 0, |_| 0)?;
        let mut start = 0;
        let mut tensors = Vec::with_capacity(self.pairs.len());
        for pairs in &self.pairs {
            let part = indices.f_narrow(1, start, pairs.len() as i64)?;
            tensors.push((part.f_select(0, 0)?, part.f_select(0, 1)?));
            start += pairs.len() as i64;
        }
        Ok(tensors)
    }
}

/// Matches every layer of `predictions` with `targets`.
///
/// # Errors
/// The number of images differs; a logit, box or label has an unusable value (named with its image and layer).
pub fn hungarian_matcher(config: &DsctConfig, predictions: &Predictions, targets: &Targets) -> Result<Matching> {
    if targets.batch() != predictions.batch() {
        let expected = format!("one per image, {} in all", predictions.batch());
        return Err(Error::argument("criterion", "targets", expected, targets.batch()));
    }
    if predictions.logits.kind() == Kind::Double || predictions.boxes.kind() == Kind::Double {
        solve::<f64>(config, predictions, targets)
    } else {
        solve::<f32>(config, predictions, targets)
    }
}

fn solve<T>(config: &DsctConfig, predictions: &Predictions, targets: &Targets) -> Result<Matching>
where
    T: Element + Copy + Into<f64> + Sync,
{
    let (layers, batch, queries) = (predictions.layers(), predictions.batch(), predictions.queries());
    let host: Vec<T> = to_host(predictions, targets)?;
    let (logits, rest) = host.split_at(predictions.logits.numel());
    let (boxes, rest) = rest.split_at(predictions.boxes.numel());
    let logits = ArrayView4::from_shape((layers, batch, queries, config.num_logits() as usize), logits)?;
    let boxes = ArrayView4::from_shape((layers, batch, queries, 4), boxes)?;
    let (subjects, starts) = (targets.read(config, rest)?, &targets.starts);
    let threads = tch::get_num_threads().max(1) as usize;
    let pairs: Vec<Result<_>> = threads::map(threads, layers * batch, |item| {
        let (layer, image) = (item / batch, item % batch);
        let of_item = |values: &ArrayView4<T>| values.slice(s![layer, image, .., ..]).mapv(Into::into);
        let (logits, boxes) = (of_item(&logits), of_item(&boxes));
        for (name, values) in [("pred_logits", &logits), ("pred_boxes", &boxes)] {
            require_finite(&output_name(name, layer, layers), image, values)?;
        }
        let of_image = s![starts[image]..starts[image + 1], ..];
        let (bounds, shows) = (subjects.bounds.slice(of_image), subjects.shows.slice(of_image));
        let cost = costs(config, logits.view(), boxes.view(), bounds, shows);
        let mut pairs = linear_assignment(cost.view())
            .map_err(|error| Error::Value(format!("criterion: image {image}, decoder layer {layer}: {error}")))?;
        pairs.iter_mut().for_each(|pair| *pair = (pair.1, pair.0));
        pairs.sort_unstable();
        Ok(pairs)
    });
    // The first error in order, not the first in time.
    Ok(Matching { pairs: pairs.into_iter().collect::<Result<_>>()?, batch })
}

/// Logits, boxes, target boxes and labels one after the other, in a single copy.
fn to_host<T: Element + Copy>(predictions: &Predictions, targets: &Targets) -> Result<Vec<T>> {
    no_grad(|| {
        let mut parts = Vec::new();
        for part in [&predictions.logits, &predictions.boxes, &targets.boxes, &targets.labels] {
            parts.push(part.f_detach()?.f_to_kind(T::KIND)?.f_flatten(0, -1)?);
        }
        let flat = Tensor::f_cat(&parts, 0)?.f_to_device(Device::Cpu)?;
        let mut host = vec![T::ZERO; flat.numel()];
        flat.f_copy_data(&mut host, flat.numel())?;
        Ok(host)
    })
}

fn require_finite(name: &str, image: usize, values: &Array2<f64>) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::Value(format!("criterion: {name} must be finite, got {value} in image {image}"))),
        None => Ok(()),
    }
}

/// Cost (n, N) of every subject with every query of one image, from `logits` (N, C') and `boxes` (N, 4).
fn costs(
    config: &DsctConfig,
    logits: ArrayView2<f64>,
    boxes: ArrayView2<f64>,
    bounds: ArrayView2<f64>,
    shows: ArrayView2<bool>,
) -> Array2<f64> {
    let mut cost = Array2::zeros((bounds.nrows(), boxes.nrows()));
    if cost.is_empty() {
        return cost;
    }
    let mut of_class = Array1::zeros(boxes.nrows());
    let share = if config.multi_label { config.cost_class / config.num_classes as f64 } else { config.cost_class };
    for (logits, shows) in logits.columns().into_iter().zip(shows.columns()) {
        if !shows.iter().any(|&shown| shown) {
            continue;
        }
        of_class.zip_mut_with(&logits, |value, &logit| *value = share * class_cost(config, logit));
        for (mut row, _) in cost.rows_mut().into_iter().zip(shows).filter(|(_, &shown)| shown) {
            row.zip_mut_with(&of_class, |total, value| *total += value);
        }
    }
    let found: Vec<([f64; 4], Corners)> = each_box(boxes).map(|side| (side, corners(side))).collect();
    for (mut row, wanted) in cost.rows_mut().into_iter().zip(each_box(bounds)) {
        let wanted_corners = corners(wanted);
        for (total, (found, found_corners)) in row.iter_mut().zip(&found) {
            let distance: f64 = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).sum();
            *total += config.cost_bbox * distance - config.cost_giou * giou(*found_corners, wanted_corners);
        }
    }
    cost
}

/// pos − neg of one logit.
fn class_cost(config: &DsctConfig, logit: f64) -> f64 {
    let power = |x: f64| if config.focal_gamma == 2.0 { x * x } else { x.powf(config.focal_gamma) };
    let p = 1.0 / (1.0 + (-logit).exp());
    let pos = -config.focal_alpha * power(1.0 - p) * (p + 1e-8).ln();
    let neg = -(1.0 - config.focal_alpha) * power(p) * (1.0 - p + 1e-8).ln();
    pos - neg
}
