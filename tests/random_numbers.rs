//! Assignment, average precision and suppression of duplicates on random numbers, NaN, infinity and huge ones included:
//! what the definition gives, or an error. `PROPTEST_CASES` asks for more.

#![allow(clippy::unwrap_used)]

use dsct::average_precision::{average_precision, Candidates};
use dsct::boxes::{corners, giou, iou, Corners};
use dsct::criterion::linear_assignment;
use dsct::post_process::{batched_nms, nms};
use ndarray::{s, Array1, Array2, Array3, ArrayView2, Axis, ShapeBuilder};
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
fn exhaustive(cost: ArrayView2<f64>, row: usize, used: u32) -> f64 {
    if row == cost.nrows() {
        return 0.0;
    }
    let free = (0..cost.ncols()).filter(|column| used & (1 << column) == 0);
    free.map(|c| cost[[row, c]] + exhaustive(cost, row + 1, used | 1 << c)).fold(f64::INFINITY, f64::min)
}

/// Up to `limit` rows and columns, in the order of rows or of columns, with or without numbers between them.
fn matrix(number: impl Strategy<Value = f64>, limit: usize) -> impl Strategy<Value = Array2<f64>> {
    (0..=limit, 0..=limit, vec(number, 2 * limit * limit), any::<bool>(), 1..3usize).prop_map(
        |(rows, columns, numbers, by_column, step)| {
            let shape = (rows, columns * step).set_f(by_column);
            let all = Array2::from_shape_vec(shape, numbers[..rows * columns * step].to_vec()).unwrap();
            all.slice_move(s![.., ..;step])
        },
    )
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
    fn assignments_cost_the_least(cost in matrix(tame(), 6)) {
        let (rows, columns) = cost.dim();
        let pairs = linear_assignment(cost.view()).unwrap();
        prop_assert_eq!(pairs.len(), rows.min(columns));
        let total: f64 = pairs.iter().map(|&(row, column)| cost[[row, column]]).sum();
        let least = exhaustive(if rows <= columns { cost.view() } else { cost.t() }, 0, 0);
        prop_assert!((total - least).abs() < 1e-9, "{total} for {least}");
    }

    #[test]
    fn any_matrix_is_assigned_or_refused(cost in matrix(number(), 24)) {
        let (rows, columns) = cost.dim();
        match linear_assignment(cost.view()) {
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
    fn precision_is_the_definition(
        (classes, samples, rows) in (1..4usize, 1..6usize, 0..11usize),
        candidates in vec((any::<prop::sample::Index>(), vec(tame(), 3), any::<[bool; 3]>()), 0..12),
        weights in vec(0..3u8, 6 * 11),
        missed in vec(0..3u8, 3),
        threads in 1..3usize,
    ) {
        let (shape, sample) = ((candidates.len(), classes), candidates.iter().map(|of| of.0.index(samples) as i64));
        let scores = Array2::from_shape_fn(shape, |(k, c)| candidates[k].1[c]);
        let positive = Array2::from_shape_fn(shape, |(k, c)| candidates[k].2[c]);
        let sample: Array1<i64> = sample.collect();
        let weights = Array2::from_shape_fn((rows, samples), |(row, i)| f64::from(weights[row * samples + i]));
        let of_row = |row: usize| -> Vec<f64> { sample.iter().map(|&i| weights[[row, i as usize]]).collect() };
        let num_positive = Array2::from_shape_fn((rows, classes), |(row, c)| {
            let found = of_row(row).iter().zip(positive.column(c)).filter(|(_, &p)| p).map(|(w, _)| w).sum::<f64>();
            found + f64::from(missed[c])
        });
        let of = Candidates { scores: scores.view(), positive: positive.view(), sample: sample.view() };
        let found = average_precision(of, weights.view(), num_positive.view(), threads).unwrap();
        prop_assert_eq!(found.dim(), (rows, classes));
        for ((row, c), &found) in found.indexed_iter() {
            let total = num_positive[[row, c]];
            if total == 0.0 {
                prop_assert!(found.is_nan());
            } else {
                let (scores, positive) = (scores.column(c).to_vec(), positive.column(c).to_vec());
                let expected = precision_by_definition(&scores, &positive, &of_row(row), total);
                prop_assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn any_arrays_are_measured_or_refused(
        (scores, weights, num_positive) in (matrix(number(), 4), matrix(number(), 4), matrix(number(), 4)),
        (positive, sample) in (matrix(tame(), 4), vec(prop_oneof![0..4i64, any::<i64>()], 0..7)),
        fitting in any::<bool>(),
    ) {
        let mut positive = positive.mapv(|number| number > 0.5);
        let mut sample = Array1::from(sample);
        let mut num_positive = num_positive;
        if fitting {
            positive = scores.mapv(|score| score > 0.5);
            sample = Array1::from_shape_fn(scores.nrows(), |k| k as i64 % 3);
            num_positive = Array2::from_elem((weights.nrows(), scores.ncols()), 1e300);
        }
        let of = Candidates { scores: scores.view(), positive: positive.view(), sample: sample.view() };
        match average_precision(of, weights.view(), num_positive.view(), 1) {
            Ok(found) => prop_assert_eq!(found.dim(), (weights.nrows(), scores.ncols())),
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
        let (sides, ranks) = (Array2::from(boxes.clone()), Array1::from(scores.clone()));
        let kept = nms(sides.view(), ranks.view(), threshold).unwrap();
        let apart = |(i, &a): (usize, &usize)| kept[..i].iter().all(|&b| iou(boxes[b], boxes[a]) <= threshold);
        prop_assert!(kept.iter().enumerate().all(apart));
        prop_assert!(!kept.windows(2).any(|two| scores[two[0]] < scores[two[1]]));
        for left_out in (0..boxes.len()).filter(|i| !kept.contains(i)) {
            let spares = |&other: &usize| iou(boxes[other], boxes[left_out]) <= threshold;
            prop_assert!(!kept.iter().all(spares), "box {left_out} is left out for nothing");
        }
    }

    #[test]
    fn suppression_in_many_images_is_that_in_each(
        people in vec((prop::array::uniform4(number()), number()), 24),
        (images, threads) in (1..5usize, 1..3usize),
        threshold in 0.0..1.0f64,
    ) {
        let queries = people.len() / images;
        let boxes = Array3::from_shape_fn((images, queries, 4), |(i, q, side)| people[i * queries + q].0[side]);
        let scores = Array2::from_shape_fn((images, queries), |(i, q)| people[i * queries + q].1);
        let keep = batched_nms(boxes.view(), scores.view(), threshold, threads).unwrap();
        for (image, keep) in keep.outer_iter().enumerate() {
            let (boxes, scores) = (boxes.index_axis(Axis(0), image), scores.row(image));
            let there: Vec<usize> = (0..queries).filter(|&q| !boxes.row(q).iter().any(|side| side.is_nan())).collect();
            let alone = nms(boxes.select(Axis(0), &there).view(), scores.select(Axis(0), &there).view(), threshold);
            let mut alone: Vec<usize> = alone.unwrap().into_iter().map(|at| there[at]).collect();
            alone.sort_unstable();
            prop_assert_eq!((0..queries).filter(|&q| keep[q]).collect::<Vec<_>>(), alone);
        }
    }
}
