//! Boxes: centre and size (cx, cy, w, h) or corners (x1, y1, x2, y2), on tensors for the losses and on numbers for the
//! matcher and the suppression of duplicates.
//!
//! GIoU (Rezatofighi et al. 2019) = intersection / union − (hull − union) / hull. Denominators are at least
//! [`SMALLEST_AREA`], so that boxes without area have finite values and gradients: the GIoU of two of them at one place
//! is 0.

use ndarray::ArrayView2;
use tch::Tensor;

use crate::{Error, Result};

/// Least area by which an intersection over union is divided: below it, sides are rounding noise in float32.
pub const SMALLEST_AREA: f64 = 1e-12;

/// Corners (x1, y1, x2, y2) of one box.
pub type Corners = [f64; 4];

/// Corners of a box given by centre and size.
pub fn corners([cx, cy, w, h]: [f64; 4]) -> Corners {
    [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
}

/// The boxes (n, 4) one by one.
///
/// # Panics
/// A row has fewer than 4 numbers.
pub(crate) fn each_box(boxes: ArrayView2<'_, f64>) -> impl Iterator<Item = [f64; 4]> + '_ {
    (0..boxes.nrows()).map(move |row| std::array::from_fn(|side| boxes[[row, side]]))
}

fn area(a: Corners) -> f64 {
    (a[2] - a[0]) * (a[3] - a[1])
}

/// (intersection, union) of two boxes.
fn overlap(a: Corners, b: Corners) -> (f64, f64) {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let intersection = width * height;
    (intersection, area(a) + area(b) - intersection)
}

/// Intersection over union of two boxes.
pub fn iou(a: Corners, b: Corners) -> f64 {
    let (intersection, union) = overlap(a, b);
    intersection / union.max(SMALLEST_AREA)
}

/// Generalised intersection over union of two boxes, in [−1, 1].
pub fn giou(a: Corners, b: Corners) -> f64 {
    let (intersection, union) = overlap(a, b);
    let hull = area([a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]);
    intersection / union.max(SMALLEST_AREA) - (hull - union) / hull.max(SMALLEST_AREA)
}

/// Refuses tensors that are not (..., 4).
pub(crate) fn require_boxes(op: &'static str, argument: &str, boxes: &Tensor) -> Result<()> {
    match boxes.size().last() {
        Some(4) => Ok(()),
        _ => Err(Error::argument(op, argument, "(..., 4)", boxes.size())),
    }
}

/// Boxes (..., 4) as centre and size to corners; differentiable.
///
/// # Errors
/// The last dimension is not 4.
pub fn box_corners(boxes: &Tensor) -> Result<Tensor> {
    require_boxes("box_corners", "boxes", boxes)?;
    let (centre, half) = (boxes.f_narrow(-1, 0, 2)?, boxes.f_narrow(-1, 2, 2)?.f_mul_scalar(0.5)?);
    Ok(Tensor::f_cat(&[centre.f_sub(&half)?, centre.f_add(&half)?], -1)?)
}

/// Generalised intersection over union of corner boxes `a` and `b` (..., 4), broadcast; differentiable. Returns (...).
///
/// # Errors
/// A last dimension is not 4, or the shapes do not broadcast.
pub fn generalized_iou(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    require_boxes("generalized_iou", "a", a)?;
    require_boxes("generalized_iou", "b", b)?;
    let first = |boxes: &Tensor| boxes.f_narrow(-1, 0, 2);
    let second = |boxes: &Tensor| boxes.f_narrow(-1, 2, 2);
    let product = |sides: &Tensor| sides.f_select(-1, 0)?.f_mul(&sides.f_select(-1, 1)?);
    let area = |boxes: &Tensor| product(&second(boxes)?.f_sub(&first(boxes)?)?);

    let sides = second(a)?.f_minimum(&second(b)?)?.f_sub(&first(a)?.f_maximum(&first(b)?)?)?;
    let intersection = product(&sides.f_clamp_min(0.0)?)?;
    let union = area(a)?.f_add(&area(b)?)?.f_sub(&intersection)?;
    let hull = product(&second(a)?.f_maximum(&second(b)?)?.f_sub(&first(a)?.f_minimum(&first(b)?)?)?)?;
    let iou = intersection.f_div(&union.f_clamp_min(SMALLEST_AREA)?)?;
    let waste = hull.f_sub(&union)?.f_div(&hull.f_clamp_min(SMALLEST_AREA)?)?;
    Ok(iou.f_sub(&waste)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giou_by_hand() {
        let unit = [0.0, 0.0, 1.0, 1.0];
        assert_eq!(giou(unit, unit), 1.0);
        // Apart by one box width: no intersection, union 2, hull 3.
        assert!((giou(unit, [2.0, 0.0, 3.0, 1.0]) + 1.0 / 3.0).abs() < 1e-15);
        // Half overlapping: intersection 1/2, union and hull 3/2.
        assert!((giou(unit, [0.5, 0.0, 1.5, 1.0]) - 1.0 / 3.0).abs() < 1e-15);
        assert!((iou(unit, [0.5, 0.0, 1.5, 1.0]) - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn boxes_without_area_are_finite() {
        let point = [0.5, 0.5, 0.5, 0.5];
        assert_eq!(giou(point, point), 0.0);
        assert_eq!(giou(point, [0.0, 0.0, 1.0, 1.0]), 0.0);
        assert_eq!(giou(point, [0.7, 0.7, 0.7, 0.7]), -1.0);
        assert_eq!(iou(point, point), 0.0);
    }

    #[test]
    fn tensors_and_numbers_agree() {
        let boxes = [[0.4, 0.5, 0.3, 0.2], [0.5, 0.45, 0.1, 0.6], [0.9, 0.1, 0.05, 0.0], [0.9, 0.1, 0.0, 0.0]];
        let tensor = Tensor::from_slice2(&boxes);
        let points = box_corners(&tensor).unwrap();
        let table = generalized_iou(&points.unsqueeze(1), &points.unsqueeze(0)).unwrap();
        for (i, &a) in boxes.iter().enumerate() {
            for (j, &b) in boxes.iter().enumerate() {
                let expected = giou(corners(a), corners(b));
                assert!((table.double_value(&[i as i64, j as i64]) - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn wrong_shapes_are_named() {
        let text = box_corners(&Tensor::from_slice(&[1.0, 2.0])).unwrap_err().to_string();
        assert_eq!(text, "box_corners: boxes must be (..., 4), got (2)");
    }
}
