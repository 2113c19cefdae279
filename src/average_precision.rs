//! Non-interpolated average precision of many classes under many weightings of the samples. A bootstrap resample is a
//! weighting: how often each sample was drawn. Every class is sorted once, whatever the number of weightings.

use crate::threads;
use crate::{Error, Result};

/// Weightings that go through a class side by side, one vector register lane each.
const LANES: usize = 8;

type Lanes = [f64; LANES];

/// K scored candidates for each of C classes; each belongs to one of I samples (images) and weighs what that one weighs.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// (C, K) score of each candidate for each class; equal scores are one step of the curve.
    pub scores: &'a [f64],
    /// (C, K) whether the candidate is right.
    pub positive: &'a [bool],
    /// (K,) which sample the candidate belongs to.
    pub sample: &'a [usize],
}

/// Average precision (R, C) = Σ_k (R_k − R_{k−1}) P_k over the distinct scores, highest first.
///
/// * `weights` (R, I), finite and not negative.
/// * `num_positive` (R, C) weight of all positives, proposed or not.
///
/// NaN where there is no positive at all, 0 where positives exist and none was proposed.
///
/// # Errors
/// Lengths that do not fit, a sample beyond I, a NaN score, an impossible weight, fewer positives than were proposed.
pub fn average_precision(
    candidates: Candidates<'_>,
    weights: &[f64],
    samples: usize,
    num_positive: &[f64],
    classes: usize,
    threads: usize,
) -> Result<Vec<f64>> {
    let rows = check(candidates, weights, samples, num_positive, classes)?;
    if rows == 0 {
        return Ok(Vec::new());
    }
    let per_class = candidates.sample.len();
    let curves = threads::map(threads, classes, |class| {
        let range = class * per_class..(class + 1) * per_class;
        curve(&candidates.scores[range.clone()], &candidates.positive[range], candidates.sample)
    });
    let blocks = threads::map(threads, rows.div_ceil(LANES), |block| {
        let first = block * LANES;
        let weights = side_by_side(weights, samples, first..rows.min(first + LANES));
        curves.iter().map(|curve| area(curve, &weights)).collect::<Vec<_>>()
    });
    let mut result = Vec::with_capacity(rows * classes);
    for (at, &total) in num_positive.iter().enumerate() {
        let (row, class) = (at / classes, at % classes);
        let (areas, found) = &blocks[row / LANES][class];
        let (area, found) = (areas[row % LANES], found[row % LANES]);
        // Sums of fractional weights differ in the last digits with their order.
        if found > total * (1.0 + 1e-9) {
            let expected = format!("at least the {found} proposed for class {class}");
            return Err(Error::argument("average_precision", "num_positive", expected, total));
        }
        result.push(if total > 0.0 { area / total } else { f64::NAN });
    }
    Ok(result)
}

/// Number of weightings.
fn check(
    candidates: Candidates<'_>,
    weights: &[f64],
    samples: usize,
    num_positive: &[f64],
    classes: usize,
) -> Result<usize> {
    let error = |argument, expected: String, got: usize| Error::argument("average_precision", argument, expected, got);
    let Candidates { scores, positive, sample } = candidates;
    // Saturated: no slice is as long as that.
    let expected = classes.saturating_mul(sample.len());
    for (name, length) in [("scores", scores.len()), ("positive", positive.len())] {
        if length != expected {
            return Err(error(name, format!("{expected} numbers, one per class and candidate"), length));
        }
    }
    if let Some(&beyond) = sample.iter().find(|&&sample| sample >= samples) {
        return Err(error("sample", format!("below {samples}, the number of weights in a row"), beyond));
    }
    if classes == 0 || !num_positive.len().is_multiple_of(classes) {
        return Err(error("num_positive", format!("rows of {classes} numbers, at least one"), num_positive.len()));
    }
    let rows = num_positive.len() / classes;
    if weights.len() != rows.saturating_mul(samples) {
        return Err(error("weights", format!("{rows} rows of {samples} numbers"), weights.len()));
    }
    if scores.iter().any(|score| score.is_nan()) {
        return Err(Error::Value("average_precision: scores must not be NaN".to_owned()));
    }
    if !weights.iter().all(|&weight| weight.is_finite() && weight >= 0.0) {
        return Err(Error::Value("average_precision: weights must be finite and not negative".to_owned()));
    }
    Ok(rows)
}

/// A candidate, in the order of falling score.
struct Step {
    sample: usize,
    positive: bool,
    /// Last of a run of equal scores in which something is right: here recall, and with it the area, grows.
    recall_grows: bool,
}

fn curve(scores: &[f64], positive: &[bool], sample: &[usize]) -> Vec<Step> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut any_right = false;
    let step = |(at, &candidate): (usize, &usize)| {
        any_right |= positive[candidate];
        let last = order.get(at + 1).is_none_or(|&next| scores[next] != scores[candidate]);
        let recall_grows = last && any_right;
        any_right &= !last;
        Step { sample: sample[candidate], positive: positive[candidate], recall_grows }
    };
    order.iter().enumerate().map(step).collect()
}

/// Some rows of `weights` (R, I) as (I, LANES), zero where there are fewer rows than lanes.
fn side_by_side(weights: &[f64], samples: usize, rows: std::ops::Range<usize>) -> Vec<Lanes> {
    let mut lanes = vec![[0.0; LANES]; samples];
    for (lane, row) in rows.enumerate() {
        for (of_sample, &weight) in lanes.iter_mut().zip(&weights[row * samples..]) {
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
    use super::*;

    const SCORES: [f64; 6] = [0.9, 0.8, 0.8, 0.5, 0.3, 0.2];
    const POSITIVE: [bool; 6] = [true, false, true, false, true, false];

    fn of(sample: &[usize], weights: &[f64], num_positive: &[f64]) -> Result<Vec<f64>> {
        let candidates = Candidates { scores: &SCORES, positive: &POSITIVE, sample };
        average_precision(candidates, weights, weights.len() / num_positive.len(), num_positive, 1, 2)
    }

    #[test]
    fn ties_are_one_step() {
        let by_hand = 1.0 / 3.0 * 1.0 + 1.0 / 3.0 * (2.0 / 3.0) + 1.0 / 3.0 * (3.0 / 5.0);
        let result = of(&[0, 1, 2, 3, 4, 5], &[1.0; 6], &[3.0]).unwrap();
        assert!((result[0] - by_hand).abs() < 1e-15);
    }

    #[test]
    fn a_weight_of_two_is_a_candidate_twice() {
        let sample = [0, 0, 1, 1, 2, 2];
        let weighted = of(&sample, &[2.0, 1.0, 0.0], &[3.0]).unwrap()[0];
        let repeated = Candidates {
            scores: &[0.9, 0.9, 0.8, 0.8, 0.8, 0.5],
            positive: &[true, true, false, false, true, false],
            sample: &[0; 6],
        };
        assert_eq!(weighted, average_precision(repeated, &[1.0], 1, &[3.0], 1, 1).unwrap()[0]);
    }

    #[test]
    fn weightings_do_not_know_each_other() {
        let sample = [0, 1, 2, 0, 1, 2];
        let rows: Vec<[f64; 3]> = (0..19).map(|row| [1.0 + row as f64, 2.0, f64::from(row % 3)]).collect();
        let totals: Vec<f64> = rows.iter().map(|row| row[0] + row[2] + row[1]).collect();
        let together = of(&sample, &rows.concat(), &totals).unwrap();
        for ((row, total), expected) in rows.iter().zip(totals).zip(together) {
            assert_eq!(of(&sample, row, &[total]).unwrap(), [expected]);
        }
    }

    #[test]
    fn nothing_to_find_and_nothing_found() {
        let sample = [0, 1, 0, 1, 0, 1];
        assert!(of(&sample, &[0.0, 1.0], &[0.0]).unwrap()[0].is_nan());
        assert_eq!(of(&sample, &[0.0, 1.0], &[2.0]).unwrap(), [0.0]);
    }

    #[test]
    fn bad_arguments_are_named() {
        let sample = [0, 1, 2, 3, 4, 5];
        for (sample, weights, total, word) in [
            (&sample[..5], &[1.0; 6][..], 3.0, "scores"),
            (&sample[..], &[1.0; 5][..], 3.0, "sample"),
            (&sample[..], &[f64::NAN; 6][..], 3.0, "weights"),
            (&sample[..], &[-1.0; 6][..], 3.0, "weights"),
            (&sample[..], &[1.0; 6][..], 2.0, "num_positive"),
        ] {
            assert!(of(sample, weights, &[total]).unwrap_err().to_string().contains(word));
        }
    }
}
