//! Box losses of matched pairs.

use tch::{Kind, Tensor};

use super::predictions::shape;
use crate::boxes::{box_corners, generalized_iou, require_boxes};
use crate::{Error, Result};

/// Sums over the K pairs of |box − box'|₁ and of 1 − GIoU.
///
/// `predicted` and `wanted` (..., K, 4) as centre and size. Returns two tensors (...); zeros where K = 0.
///
/// # Errors
/// The shapes differ or are not (..., K, 4).
pub fn box_losses(predicted: &Tensor, wanted: &Tensor) -> Result<(Tensor, Tensor)> {
    require_boxes("box_losses", "predicted", predicted)?;
    if predicted.dim() < 2 || predicted.size() != wanted.size() {
        let expected = format!("(..., K, 4), the shape of predicted {}", shape(&predicted.size()));
        return Err(Error::argument("box_losses", "wanted", expected, wanted.size()));
    }
    let none = None::<Kind>;
    let distance = predicted.f_sub(wanted)?.f_abs()?.f_sum_dim_intlist([-2, -1].as_slice(), false, none)?;
    let giou = generalized_iou(&box_corners(predicted)?, &box_corners(wanted)?)?;
    Ok((distance, giou.f_rsub_scalar(1.0)?.f_sum_dim_intlist([-1].as_slice(), false, none)?))
}
