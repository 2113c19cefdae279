//! Non-interpolated average precision of many classes under many weightings of the samples. A bootstrap resample is a
//! weighting: how often each sample was drawn. Every class is sorted once, whatever the number of weightings.

use ndarray::{s, Array2, ArrayView1, ArrayView2};

use crate::{memory, threads, Error, Result};

/// Weightings that go through a class side by side, one vector register lane each.
const LANES: usize = 8;

type Lanes = [f64; LANES];

/// K scored candidates for each of C classes; each belongs to one of I samples (images) and weighs what that one weighs.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// (K, C) score of each candidate for each class; equal scores are one step of the curve.
    pub scores: ArrayView2<'a, f64>,
    /// (K, C) whether the candidate is right.
    pub positive: ArrayView2<'a, bool>,
    /// (K,) which sample the candidate belongs to, from 0 to I − 1.
    pub sample: ArrayView1<'a, i64>,
}

/// Average precision (R, C) = Σ_k (R_k − R_{k−1}) P_k over the distinct scores, highest first.
///
/// * `weights` (R, I), finite and not negative.
/// * `num_positive` (R, C) weight of all positives, proposed or not, finite and not negative.
///
/// NaN where there is no positive at all, 0 where positives exist and none was proposed.
///
/// # Errors
/// Shapes that do not fit, a sample beyond I, a NaN score, an impossible weight, fewer positives than were proposed, more
/// numbers than memory holds.
pub fn average_precision(
    candidates: Candidates<'_>,
    weights: ArrayView2<f64>,
    num_positive: ArrayView2<f64>,
    threads: usize,
) -> Result<Array2<f64>> {
    check_shapes(candidates, weights, num_positive)?;
    let (rows, classes) = num_positive.dim();
    let per_row = size_of::<f64>() + size_of::<(Lanes, Lanes)>() / LANES;
    memory::require("average_precision", &[rows, classes], per_row)?;
    memory::require("average_precision", &[candidates.sample.len(), classes], size_of::<Step>())?;
    check_values(candidates, weights, num_positive)?;
    if num_positive.is_empty() {
        return Ok(Array2::zeros((rows, classes)));
    }
    let curves = threads::map(threads, classes, |class| curve(candidates, class));
    let blocks = threads::map(threads, rows.div_ceil(LANES), |block| {
        let first = block * LANES;
        let weights = side_by_side(weights.slice(s![first..rows.min(first + LANES), ..]));
        curves.iter().map(|curve| area(curve, &weights)).collect::<Vec<_>>()
    });
    let mut result = Array2::from_elem((rows, classes), f64::NAN);
    for ((row, class), &total) in num_positive.indexed_iter() {
        let (areas, found) = &blocks[row / LANES][class];
        let (area, found) = (areas[row % LANES], found[row % LANES]);
        // Sums of fractional weights differ in the last digits with their order.
        if found > total * (1.0 + 1e-9) {
            let expected = format!("at least the {found} proposed for class {class}");
            return Err(Error::argument("average_precision", "num_positive", expected, total));
        }
        if total > 0.0 {
            result[[row, class]] = area / total;
        }
    }
    Ok(result)
}

fn check_shapes(candidates: Candidates<'_>, weights: ArrayView2<f64>, num_positive: ArrayView2<f64>) -> Result<()> {
    let Candidates { scores, positive, sample } = candidates;
    let ((count, classes), rows) = (scores.dim(), weights.nrows());
    for (name, expected, meaning, got) in [
        ("positive", vec![count, classes], "the shape of scores", positive.shape()),
        ("sample", vec![count], "one per candidate", sample.shape()),
        ("num_positive", vec![rows, classes], "a row per weighting", num_positive.shape()),
    ] {
        if got != expected {
            let expected = format!("{expected:?}, {meaning}").replace('[', "(").replace(']', ")");
            return Err(Error::argument("average_precision", name, expected, got));
        }
    }
    Ok(())
}

fn check_values(candidates: Candidates<'_>, weights: ArrayView2<f64>, num_positive: ArrayView2<f64>) -> Result<()> {
    let (Candidates { scores, sample, .. }, samples) = (candidates, weights.ncols());
    if let Some(beyond) = sample.iter().find(|&&sample| usize::try_from(sample).map_or(true, |at| at >= samples)) {
        let expected = format!("numbers in 0..{samples}, the weights in a row");
        return Err(Error::argument("average_precision", "sample", expected, beyond));
    }
    if scores.iter().any(|score| score.is_nan()) {
        return Err(Error::Value("average_precision: scores must not be NaN".to_owned()));
    }
    for (name, values) in [("weights", weights.view()), ("num_positive", num_positive.view())] {
        if !values.iter().all(|&value| value.is_finite() && value >= 0.0) {
            return Err(Error::Value(format!("average_precision: {name} must be finite and not negative")));
        }
    }
    Ok(())
}

/// A candidate, in the order of falling score.
struct Step {
    sample: usize,
    positive: bool,
    /// Last of a run of equal scores in which something is right: here recall, and with it the area, grows.
    recall_grows: bool,
}

fn curve(candidates: Candidates<'_>, class: usize) -> Vec<Step> {
    // In one piece: a sort reads them in any order.
    let (scores, positive) = (candidates.scores.column(class).to_vec(), candidates.positive.column(class).to_vec());
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut any_right = false;
    let step = |(at, &candidate): (usize, &usize)| {
        any_right |= positive[candidate];
        let last = order.get(at + 1).is_none_or(|&next| scores[next] != scores[candidate]);
        let recall_grows = last && any_right;
        any_right &= !last;
        Step { sample: candidates.sample[candidate] as usize, positive: positive[candidate], recall_grows }
    };
    order.iter().enumerate().map(step).collect()
}

/// Some rows of the weights (R, I) as (I, LANES), zero where there are fewer rows than lanes.
fn side_by_side(weights: ArrayView2<f64>) -> Vec<Lanes> {
    let mut lanes = vec![[0.0; LANES]; weights.ncols()];
    for (lane, row) in weights.outer_iter().enumerate() {
        for (of_sample, &weight) in lanes.iter_mut().zip(row) {
            of_sample[lane] = weight;
        }
    }
    lanes
}

/// Area under the curve of precision against the weight of the positives proposed, and that weight in the end.
fn area(curve: &[Step], weights: &[Lanes]) -> (Lanes, Lanes) {
    let (mut area, mut all, mut right, mut before) = ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for step in curve {
        let weight = &weights[step.sample];
        for lane in 0..LANES {
            all[lane] += weight[lane];
        }
        if step.positive {
            for lane in 0..LANES {
                right[lane] += weight[lane];
            }
        }
        if step.recall_grows {
            for lane in 0..LANES {
                let gain = right[lane] - before[lane];
                // Without gain the quotient may be 0/0.
                area[lane] += if gain > 0.0 { gain * right[lane] / all[lane] } else { 0.0 };
            }
            before = right;
        }
    }
    (area, right)
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2, aview1, Array1, Axis};

    use super::*;

    const SCORES: [f64; 6] = [0.9, 0.8, 0.8, 0.5, 0.3, 0.2];
    const POSITIVE: [bool; 6] = [true, false, true, false, true, false];

    fn measure(
        scores: &[f64],
        positive: &[bool],
        sample: &[i64],
        weights: &Array2<f64>,
        total: &[f64],
    ) -> Result<Array1<f64>> {
        let candidates = Candidates {
            scores: aview1(scores).insert_axis(Axis(1)),
            positive: aview1(positive).insert_axis(Axis(1)),
            sample: aview1(sample),
        };
        let total = aview1(total).insert_axis(Axis(1));
        Ok(average_precision(candidates, weights.view(), total, 2)?.column(0).to_owned())
    }

    fn of(sample: &[i64], weights: &Array2<f64>, num_positive: &[f64]) -> Result<Array1<f64>> {
        measure(&SCORES, &POSITIVE, sample, weights, num_positive)
    }

    #[test]
    fn ties_are_one_step() {
        let by_hand = 1.0 / 3.0 * 1.0 + 1.0 / 3.0 * (2.0 / 3.0) + 1.0 / 3.0 * (3.0 / 5.0);
        let result = of(&[0, 1, 2, 3, 4, 5], &Array2::ones((1, 6)), &[3.0]).unwrap();
        assert!((result[0] - by_hand).abs() < 1e-15);
    }

    #[test]
    fn a_weight_of_two_is_a_candidate_twice() {
        let weighted = of(&[0, 0, 1, 1, 2, 2], &arr2(&[[2.0, 1.0, 0.0]]), &[3.0]).unwrap();
        let (scores, positive) = ([0.9, 0.9, 0.8, 0.8, 0.8, 0.5], [true, true, false, false, true, false]);
        assert_eq!(weighted, measure(&scores, &positive, &[0; 6], &arr2(&[[1.0]]), &[3.0]).unwrap());
    }

    #[test]
    fn weightings_do_not_know_each_other() {
        let sample = [0, 1, 2, 0, 1, 2];
        let rows = Array2::from_shape_fn((19, 3), |(row, i)| [1.0 + row as f64, 2.0, (row % 3) as f64][i]);
        let totals = rows.sum_axis(Axis(1)).to_vec();
        let together = of(&sample, &rows, &totals).unwrap();
        for (row, &total) in totals.iter().enumerate() {
            let alone = of(&sample, &rows.slice(s![row..=row, ..]).to_owned(), &[total]).unwrap();
            assert_eq!(alone, arr1(&[together[row]]));
        }
    }

    #[test]
    fn any_layout_is_the_same_array() {
        let scores = Array2::from_shape_fn((6, 3), |(k, c)| SCORES[(k + c) % 6]);
        let positive = Array2::from_shape_fn((6, 3), |(k, c)| POSITIVE[(2 * k + c) % 6]);
        let weights = Array2::from_shape_fn((9, 6), |(row, i)| ((row * i) % 4) as f64);
        let (sample, total) = (arr1(&[0, 1, 2, 3, 4, 5]), Array2::from_elem((9, 3), 99.0));
        let candidates = Candidates { scores: scores.view(), positive: positive.view(), sample: sample.view() };
        let expected = average_precision(candidates, weights.view(), total.view(), 1).unwrap();
        let (by_column, every_other) = (scores.t().as_standard_layout().into_owned(), positive.clone());
        let doubled = ndarray::concatenate![Axis(1), weights, weights];
        let other = Candidates { scores: by_column.t(), positive: every_other.view(), sample: sample.view() };
        let found = average_precision(other, doubled.slice(s![.., ..6]), total.view(), 3).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_to_find_and_nothing_found() {
        let (sample, weights) = ([0, 1, 0, 1, 0, 1], arr2(&[[0.0, 1.0]]));
        assert!(of(&sample, &weights, &[0.0]).unwrap()[0].is_nan());
        assert_eq!(of(&sample, &weights, &[2.0]).unwrap(), arr1(&[0.0]));
        assert!(of(&sample, &Array2::zeros((0, 2)), &[]).unwrap().is_empty());
        assert_eq!(measure(&[], &[], &[], &Array2::zeros((1, 0)), &[2.0]).unwrap(), arr1(&[0.0]));
    }

    #[test]
    fn bad_arguments_are_named() {
        let sample = [0, 1, 2, 3, 4, 5];
        for (sample, weights, total, word) in [
            (&sample[..5], arr2(&[[1.0; 6]]), 3.0, "sample must be (6), one per candidate, got (5)"),
            (&sample[..], Array2::ones((1, 5)), 3.0, "sample must be numbers in 0..5, the weights in a row, got 5"),
            (&[0, -1, 0, 0, 0, 0], Array2::ones((1, 6)), 3.0, "sample must be numbers in 0..6"),
            (&sample, Array2::ones((2, 6)), 3.0, "num_positive must be (2, 1), a row per weighting, got (1, 1)"),
            (&sample, arr2(&[[f64::NAN; 6]]), 3.0, "weights must be finite"),
            (&sample, arr2(&[[-1.0; 6]]), 3.0, "weights must be finite and not negative"),
            (&sample, arr2(&[[1.0; 6]]), 2.0, "num_positive must be at least the 3"),
            (&sample, arr2(&[[1.0; 6]]), f64::NAN, "num_positive must be finite and not negative"),
            (&sample, arr2(&[[1.0; 6]]), f64::INFINITY, "num_positive must be finite"),
            (&sample, arr2(&[[0.0; 6]]), -1.0, "num_positive must be finite and not negative"),
        ] {
            let text = of(sample, &weights, &[total]).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
