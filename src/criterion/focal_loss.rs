//! Sigmoid focal loss (Lin et al. 2017), the class loss of DETR-like detectors without a softmax.

use tch::Tensor;

use super::predictions::shape;
use crate::{Error, Result};

/// Focal loss of every element: with p = sigmoid(logit),
///
/// * target 1: α·(1 − p)^γ·(−log p)
/// * target 0: (1 − α)·p^γ·(−log(1 − p))
///
/// * `logits` any shape, floating point; differentiable.
/// * `targets` of the same shape and dtype, every element 0 or 1.
///
/// Both cases are one expression of a = ±logit, positive where the prediction agrees with the target: log sigmoid(a) is
/// the log-probability of the truth, and log sigmoid(a) − a that of its opposite. Everything stays in the logarithm, so
/// values and gradients are finite for every finite logit and every γ ≥ 0.
///
/// # Errors
/// The shapes differ.
pub fn sigmoid_focal_loss(logits: &Tensor, targets: &Tensor, alpha: f64, gamma: f64) -> Result<Tensor> {
    if logits.size() != targets.size() {
        let expected = format!("of the shape of logits {}", shape(&logits.size()));
        return Err(Error::argument("sigmoid_focal_loss", "targets", expected, targets.size()));
    }
    let agreement = targets.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?.f_mul(logits)?;
    let log_truth = agreement.f_log_sigmoid()?;
    let focus = log_truth.f_sub(&agreement)?.f_mul_scalar(gamma)?.f_exp()?;
    let minus_alpha = targets.f_mul_scalar(1.0 - 2.0 * alpha)?.f_sub_scalar(1.0 - alpha)?;
    Ok(focus.f_mul(&log_truth)?.f_mul(&minus_alpha)?)
}
