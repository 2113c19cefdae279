//! The three losses of every decoder layer, each with its own matching.

use tch::{Kind, Tensor};

use super::box_loss::box_losses;
use super::focal_loss::sigmoid_focal_loss;
use super::hungarian_matcher::hungarian_matcher;
use super::predictions::Predictions;
use super::targets::Targets;
use crate::{DsctConfig, Error, Result};

/// Unweighted losses, each (L,), the last decoder layer last.
pub struct Losses {
    /// Focal loss over all queries and classes.
    pub class: Tensor,
    /// L1 distance of matched boxes.
    pub bbox: Tensor,
    /// 1 − GIoU of matched boxes.
    pub giou: Tensor,
}

/// Matches and computes the losses; differentiable in the predictions.
///
/// Every loss is divided by `num_boxes`, positive: the number of ground-truth boxes, matched or not, at least 1, or
/// what stands for it where several batches or processes share a step.
///
/// `class_weights` (C,), if given, multiply the class loss where the target is 1: what it costs to miss a class that a
/// subject shows. Matching does not see them.
///
/// # Errors
/// Those of [`hungarian_matcher`]; `num_boxes` is not positive and finite; `class_weights` have another shape.
pub fn set_criterion(
    config: &DsctConfig,
    predictions: &Predictions,
    targets: &Targets,
    num_boxes: f64,
    class_weights: Option<&Tensor>,
) -> Result<Losses> {
    if !(num_boxes > 0.0 && num_boxes.is_finite()) {
        return Err(Error::argument("criterion", "num_boxes", "positive and finite", num_boxes));
    }
    let matching = hungarian_matcher(config, predictions, targets)?;
    let (batch, queries) = (predictions.batch(), predictions.queries());
    let indices =
        matching.indices(predictions.logits.device(), |item| item * queries, |item| targets.starts[item % batch])?;
    let (query, subject) = (indices.f_select(0, 0)?, indices.f_select(0, 1)?);

    let (logits, wanted) = class_targets(config, &predictions.logits, targets, &query, &subject)?;
    let mut class = sigmoid_focal_loss(&logits, &wanted, config.focal_alpha, config.focal_gamma)?;
    if let Some(weights) = class_weights {
        class = class.f_mul(&factors(config, &wanted, weights)?)?;
    }
    let class = class.f_sum_dim_intlist([1, 2, 3].as_slice(), false, None::<Kind>)?;

    // Every layer matches equally many pairs.
    let layers = [predictions.layers() as i64, query.size()[0] / predictions.layers() as i64, 4];
    let matched = predictions.boxes.f_flatten(0, 2)?.f_index_select(0, &query)?.f_view(layers)?;
    let (bbox, giou) = box_losses(&matched, &targets.boxes.f_index_select(0, &subject)?.f_view(layers)?)?;

    let scale = 1.0 / num_boxes;
    Ok(Losses { class: class.f_mul_scalar(scale)?, bbox: bbox.f_mul_scalar(scale)?, giou: giou.f_mul_scalar(scale)? })
}

/// The logits that enter the focal loss, and their targets: those of its subject for a matched query, else 0.
///
/// An extra logit beyond the C classes says "is a person" in a multi-label configuration, 1 for matched queries; in a
/// multi-class configuration it takes no part.
fn class_targets(
    config: &DsctConfig,
    logits: &Tensor,
    targets: &Targets,
    query: &Tensor,
    subject: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let classes = if config.multi_label { config.num_logits() } else { config.num_classes };
    let logits = logits.f_narrow(-1, 0, classes)?;
    let (options, pairs) = ((logits.kind(), logits.device()), query.size()[0]);
    let rows = logits.size()[..3].iter().product::<i64>();
    let mut wanted = Tensor::f_zeros([rows, classes], options)?;
    let labels = targets.labels.f_index_select(0, subject)?;
    let _ = if config.multi_label {
        let person = Tensor::f_ones([pairs, classes - config.num_classes], options)?;
        wanted.f_index_copy_(0, query, &Tensor::f_cat(&[labels.f_to_kind(logits.kind())?, person], 1)?)?
    } else {
        wanted.f_view([-1])?.f_index_fill_(0, &query.f_mul_scalar(classes)?.f_add(&labels)?, 1.0)?
    };
    let wanted = wanted.f_view(logits.size().as_slice())?;
    Ok((logits, wanted))
}

/// What the class loss is multiplied by: the weight of the class where the target `wanted` is 1, elsewhere 1.
fn factors(config: &DsctConfig, wanted: &Tensor, weights: &Tensor) -> Result<Tensor> {
    if weights.size() != [config.num_classes] {
        let expected = format!("({},)", config.num_classes);
        return Err(Error::argument("criterion", "class_weights", expected, weights.size()));
    }
    let excess = weights.f_to_device(wanted.device())?.f_to_kind(wanted.kind())?.f_sub_scalar(1.0)?;
    // The logit for "is a person" is no class.
    let rest = wanted.size()[3] - config.num_classes;
    Ok(wanted.f_mul(&excess.f_constant_pad_nd([0, rest])?)?.f_add_scalar(1.0)?)
}
