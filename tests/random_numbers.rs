//! Assignment, average precision and suppression of duplicates on random numbers, NaN, infinity and huge ones included:
//! what the definition gives, or an error. `PROPTEST_CASES` asks for more.

#![allow(clippy::unwrap_used)]

use dsct::average_precision::{average_precision, Candidates};
use dsct::boxes::{corners, giou, iou, Corners};
use dsct::criterion::linear_assignment;
use dsct::post_process::nms;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// Few distinct numbers, for ties, or many; now and then one that is none.
fn number() -> impl Strategy<Value = f64> {
    let wild = select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e300, -1e300, 0.0, -0.0]);
    prop_oneof![8 => -2.0..2.0f64, 8 => select(vec![0.0, 0.5, 1.0]), 1 => wild]
}

fn tame() -> impl Strategy<Value = f64> {
    prop_oneof![-2.0..2.0f64, select(vec![0.0, 0.5, 1.0])]
}

/// Least cost of all assignments of the rows from `row` on to columns that are not `used`.
fn exhaustive(cost: &[f64], columns: usize, row: usize, used: u32) -> f64 {
    if row * columns == cost.len() {
        return 0.0;
    }
    let free = (0..columns).filter(|column| used & (1 << column) == 0);
    let total = |c: usize| cost[row * columns + c] + exhaustive(cost, columns, row + 1, used | 1 << c);
    free.map(total).fold(f64::INFINITY, f64::min)
}

fn matrix(number: impl Strategy<Value = f64>, limit: usize) -> impl Strategy<Value = (usize, usize, Vec<f64>)> {
    let numbers = vec(number, limit * limit);
    (0..=limit, 0..=limit, numbers).prop_map(|(rows, columns, mut cost)| {
        cost.truncate(rows * columns);
        (rows, columns, cost)
    })
}

/// Σ (R_k − R_{k−1}) P_k over the distinct scores of one class, each sample counted `weight` times.
fn precision_by_definition(scores: &[f64], positive: &[bool], weight: &[f64], total: f64) -> f64 {
    let mut thresholds = scores.to_vec();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let (mut area, mut before) = (0.0, 0.0);
    for threshold in thresholds {
        let sum = |right: bool| -> f64 {
            let at_least = (0..scores.len()).filter(|&i| scores[i] >= threshold && (positive[i] || !right));
            at_least.map(|i| weight[i]).sum()
        };
        let (right, all) = (sum(true), sum(false));
        if all > 0.0 {
            area += (right - before) / total * (right / all);
        }
        before = right;
    }
    area
}

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(4096), failure_persistence: None, rng_seed: RngSeed::Fixed(0), ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn assignments_cost_the_least((rows, columns, cost) in matrix(tame(), 6)) {
        let pairs = linear_assignment(&cost, rows, columns).unwrap();
        prop_assert_eq!(pairs.len(), rows.min(columns));
        let total: f64 = pairs.iter().map(|&(row, column)| cost[row * columns + column]).sum();
        let wide: Vec<f64> = if rows <= columns {
            cost.clone()
        } else {
            (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| cost[r * columns + c]).collect()
        };
        let least = if cost.is_empty() { 0.0 } else { exhaustive(&wide, rows.max(columns), 0, 0) };
        prop_assert!((total - least).abs() < 1e-9, "{total} for {least}");
    }

    #[test]
    fn any_matrix_is_assigned_or_refused((rows, columns, cost) in matrix(number(), 24)) {
        match linear_assignment(&cost, rows, columns) {
            Err(error) => {
                let unusable = cost.iter().any(|x| !x.is_finite() || x.abs() > 1e299);
                prop_assert!(unusable && error.to_string().starts_with("linear_assignment: "), "{error}");
            }
            Ok(pairs) => {
                prop_assert!(cost.iter().all(|x| x.is_finite()));
                prop_assert_eq!(pairs.len(), rows.min(columns));
                prop_assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
                let mut taken: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
                taken.sort_unstable();
                taken.dedup();
                prop_assert_eq!(taken.len(), pairs.len());
                prop_assert!(pairs.iter().all(|&(row, column)| row < rows && column < columns));
            }
        }
    }

    #[test]
    fn sides_that_do_not_fit_are_refused(rows in any::<usize>(), columns in any::<usize>(), cost in vec(tame(), 0..4)) {
        let fits = rows.checked_mul(columns) == Some(cost.len());
        prop_assert_eq!(linear_assignment(&cost, rows, columns).is_ok(), fits);
    }

    #[test]
    fn precision_is_the_definition(
        (classes, samples, rows) in (1..4usize, 1..6usize, 0..11usize),
        candidates in vec((any::<prop::sample::Index>(), vec(tame(), 3), any::<[bool; 3]>()), 0..12),
        weights in vec(0..3u8, 6 * 11),
        missed in vec(0..3u8, 3),
        threads in 1..3usize,
    ) {
        let sample: Vec<usize> = candidates.iter().map(|(index, ..)| index.index(samples)).collect();
        let scores: Vec<f64> = (0..classes).flat_map(|c| candidates.iter().map(move |of| of.1[c])).collect();
        let positive: Vec<bool> = (0..classes).flat_map(|c| candidates.iter().map(move |of| of.2[c])).collect();
        let weights: Vec<f64> = weights[..rows * samples].iter().map(|&w| f64::from(w)).collect();
        let k = sample.len();
        let of_row = |row: usize| -> Vec<f64> { sample.iter().map(|&i| weights[row * samples + i]).collect() };
        let total = |row: usize, c: usize| -> f64 {
            let found = of_row(row).iter().zip(&positive[c * k..]).filter(|(_, &p)| p).map(|(w, _)| w).sum::<f64>();
            found + f64::from(missed[c])
        };
        let num_positive: Vec<f64> =
            (0..rows).flat_map(|row| (0..classes).map(move |c| (row, c))).map(|(row, c)| total(row, c)).collect();
        let of = Candidates { scores: &scores, positive: &positive, sample: &sample };
        let found = average_precision(of, &weights, samples, &num_positive, classes, threads).unwrap();
        prop_assert_eq!(found.len(), rows * classes);
        for (at, (&found, &total)) in found.iter().zip(&num_positive).enumerate() {
            let (row, range) = (at / classes, at % classes * k..(at % classes + 1) * k);
            if total == 0.0 {
                prop_assert!(found.is_nan());
            } else {
                let expected =
                    precision_by_definition(&scores[range.clone()], &positive[range], &of_row(row), total);
                prop_assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn any_lengths_are_measured_or_refused(
        (scores, positive, sample) in (vec(number(), 0..7), vec(any::<bool>(), 0..7), vec(0..4usize, 0..7)),
        (weights, num_positive) in (vec(number(), 0..7), vec(number(), 0..7)),
        (samples, classes) in (
            prop_oneof![0..5usize, select(vec![usize::MAX, 1 << 63])],
            prop_oneof![0..5usize, select(vec![usize::MAX, 1 << 62])],
        ),
    ) {
        let of = Candidates { scores: &scores, positive: &positive, sample: &sample };
        match average_precision(of, &weights, samples, &num_positive, classes, 1) {
            Ok(found) => prop_assert_eq!(found.len(), num_positive.len()),
            Err(error) => prop_assert!(error.to_string().starts_with("average_precision: "), "{error}"),
        }
    }

    #[test]
    fn overlaps_are_in_range(a in prop::array::uniform4(0.0..1.0f64), b in prop::array::uniform4(0.0..1.0f64)) {
        let (a, b) = (corners(a), corners(b));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&iou(a, b)));
        prop_assert!((-1.0 - 1e-12..=1.0 + 1e-12).contains(&giou(a, b)));
        prop_assert!(giou(a, b) <= iou(a, b) + 1e-12);
        prop_assert_eq!((iou(a, b), giou(a, b)), (iou(b, a), giou(b, a)));
    }

    #[test]
    fn suppression_keeps_the_best_and_nothing_like_it(
        people in vec((prop::array::uniform4(number()), number()), 0..40),
        threshold in prop_oneof![0.0..1.0f64, number()],
    ) {
        let (boxes, scores): (Vec<Corners>, Vec<f64>) = people.into_iter().unzip();
        let kept = nms(&boxes, &scores, threshold);
        let apart = |(i, &a): (usize, &usize)| kept[..i].iter().all(|&b| iou(boxes[b], boxes[a]) <= threshold);
        prop_assert!(kept.iter().enumerate().all(apart));
        prop_assert!(!kept.windows(2).any(|two| scores[two[0]] < scores[two[1]]));
        for left_out in (0..boxes.len()).filter(|i| !kept.contains(i)) {
            let spares = |&other: &usize| iou(boxes[other], boxes[left_out]) <= threshold;
            prop_assert!(!kept.iter().all(spares), "box {left_out} is left out for nothing");
        }
    }
}
