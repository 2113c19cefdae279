//! Non-maximum suppression: of people found twice, the better one.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3, Axis};

use crate::boxes::{each_box, iou, Corners};
use crate::{memory, threads, Error, Result};

/// Greedy non-maximum suppression: indices of the `boxes` (n, 4), corners, that are kept, by falling score, ties by lower
/// index.
///
/// A box is left out where its IoU with one that is kept exceeds `threshold`. NaN is the lowest of the `scores` (n,).
///
/// # Errors
/// The shapes do not fit.
pub fn nms(boxes: ArrayView2<f64>, scores: ArrayView1<f64>, threshold: f64) -> Result<Vec<usize>> {
    if boxes.ncols() != 4 {
        return Err(Error::argument("nms", "boxes", "(n, 4)", boxes.shape()));
    }
    if scores.len() != boxes.nrows() {
        let expected = format!("({},), one per box", boxes.nrows());
        return Err(Error::argument("nms", "scores", expected, scores.shape()));
    }
    // A total order: a sort may panic where NaN equals everything. Adding 0 makes one zero of both.
    let rank = |index: usize| if scores[index].is_nan() { f64::NEG_INFINITY } else { scores[index] + 0.0 };
    let mut order: Vec<(usize, Corners)> = each_box(boxes).enumerate().collect();
    order.sort_by(|a, b| rank(b.0).total_cmp(&rank(a.0)));
    let mut kept: Vec<(usize, Corners)> = Vec::new();
    for candidate in order {
        if kept.iter().all(|other| iou(other.1, candidate.1) <= threshold) {
            kept.push(candidate);
        }
    }
    Ok(kept.into_iter().map(|(index, _)| index).collect())
}

/// [`nms`] within each of I images: whether each of the `boxes` (I, N, 4) is kept, (I, N).
///
/// Images with fewer boxes are filled up with NaN, which is never kept. `scores` (I, N).
///
/// # Errors
/// The shapes do not fit, or there are more boxes than memory holds.
pub fn batched_nms(
    boxes: ArrayView3<f64>,
    scores: ArrayView2<f64>,
    threshold: f64,
    threads: usize,
) -> Result<Array2<bool>> {
    let (images, queries, sides) = boxes.dim();
    if sides != 4 {
        return Err(Error::argument("batched_nms", "boxes", "(I, N, 4)", boxes.shape()));
    }
    if scores.dim() != (images, queries) {
        let expected = format!("({images}, {queries}), one per box");
        return Err(Error::argument("batched_nms", "scores", expected, scores.shape()));
    }
    if scores.is_empty() {
        return Ok(Array2::from_elem((images, queries), false));
    }
    memory::require("batched_nms", &[images], size_of::<Result<Vec<usize>>>() + queries)?;
    let kept: Vec<Result<Vec<usize>>> = threads::map(threads, images, |image| {
        let (boxes, scores) = (boxes.index_axis(Axis(0), image), scores.row(image));
        let there: Vec<usize> =
            (0..queries).filter(|&query| !boxes.row(query).iter().any(|side| side.is_nan())).collect();
        let kept = nms(boxes.select(Axis(0), &there).view(), scores.select(Axis(0), &there).view(), threshold)?;
        Ok(kept.into_iter().map(|at| there[at]).collect())
    });
    let mut keep = Array2::from_elem((images, queries), false);
    for (mut keep, kept) in keep.outer_iter_mut().zip(kept) {
        kept?.into_iter().for_each(|query| keep[query] = true);
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2, arr3, Array1, Array3};

    use super::*;

    #[test]
    fn nms_keeps_the_best_of_a_group() {
        let boxes =
            arr2(&[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 6.0], [20.0, 0.0, 30.0, 10.0], [0.0, 0.0, 10.0, 5.0]]);
        let scores = arr1(&[0.5, 0.9, 0.2, 0.5]);
        let kept = |threshold| nms(boxes.view(), scores.view(), threshold).unwrap();
        // IoU with box 1: 0.6 for box 0, 5/6 for box 3.
        assert_eq!(kept(0.5), [1, 2]);
        assert_eq!(kept(0.7), [1, 0, 2]);
        assert_eq!(kept(1.0), [1, 0, 3, 2]);
        assert!(nms(Array2::zeros((0, 4)).view(), arr1(&[]).view(), 0.5).unwrap().is_empty());
    }

    #[test]
    fn images_do_not_suppress_each_other_and_padding_is_not_kept() {
        let square = [0.0, 0.0, 10.0, 10.0];
        let boxes = arr3(&[[square, square, [f64::NAN; 4]], [[f64::NAN; 4], square, [5.0, 0.0, 15.0, 10.0]]]);
        let scores = arr2(&[[0.1, 0.2, 0.9], [0.9, 0.2, 0.1]]);
        for threads in [1, 2] {
            let kept = |threshold| batched_nms(boxes.view(), scores.view(), threshold, threads).unwrap();
            assert_eq!(kept(0.5), arr2(&[[false, true, false], [false, true, true]]));
            assert_eq!(kept(0.2), arr2(&[[false, true, false], [false, true, false]]));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let text = |boxes: (usize, usize), scores: usize| {
            nms(Array2::zeros(boxes).view(), Array1::zeros(scores).view(), 0.5).unwrap_err().to_string()
        };
        assert_eq!(text((2, 3), 2), "nms: boxes must be (n, 4), got (2, 3)");
        assert_eq!(text((2, 4), 1), "nms: scores must be (2,), one per box, got (1)");
        let found = batched_nms(Array3::zeros((2, 3, 4)).view(), Array2::zeros((2, 2)).view(), 0.5, 1);
        assert_eq!(found.unwrap_err().to_string(), "batched_nms: scores must be (2, 3), one per box, got (2, 2)");
    }
}
