//! Tests of `src/ops/deform_attn_cuda/plan.rs`, and the table `plans.json` next to this file: the calls that
//! `tests/ops/test_deform_attn_cuda_kernels.py` runs on the CPU, with the plan of each. `DSCT_UPDATE_PLANS=1` rewrites it.

use std::mem::{offset_of, size_of};
use std::ptr::null;

use super::super::call::supports;
use super::super::params::DeformAttnParams;
use super::super::pass::Pass;
use super::super::specialisation::specialisations;
use super::super::Sizes;
use super::*;
use crate::ops::c_abi::{DeformAttnGradients, DeformAttnInputs, DeformAttnShape, DTYPE_CODES};

const TABLE: &str = include_str!("plans.json");

const H100: Gpu = Gpu { multiprocessors: 132, compute_capability: 90, shared_bytes_per_block: 227 << 10 };
const RTX_2080: Gpu = Gpu { multiprocessors: 46, compute_capability: 75, shared_bytes_per_block: 64 << 10 };
/// Small enough that tiny calls fill it: the plans of large calls for small tests.
const TINY: Gpu = Gpu { multiprocessors: 0, compute_capability: 90, shared_bytes_per_block: 227 << 10 };

const ALL: Wants = Wants { value: true, points: true, weights: true };
const NO_VALUE: Wants = Wants { value: false, points: true, weights: true };

struct Case {
    name: &'static str,
    /// Whether the GPU is full: no point splitting, and tiles where Q = S.
    full: bool,
    /// dtype, points dtype, reference size.
    types: (i32, i32, i32),
    /// B, M, D, Q (0: the cells), P.
    sizes: (i64, i64, i64, i64, i64),
    levels: &'static [(i64, i64)],
}

const PYRAMID: &[(i64, i64)] = &[(6, 7), (3, 4), (2, 2), (1, 1)];
const MAPS: &[(i64, i64)] = &[(9, 10), (4, 5), (2, 3)];

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "few-float32", full: false, types: (0, 0, 0), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float32-points", full: false, types: (0, 0, 2), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float32-boxes", full: false, types: (0, 0, 4), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float16", full: false, types: (1, 0, 0), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float16-points", full: false, types: (1, 1, 2), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float16-boxes", full: false, types: (1, 0, 4), sizes: (1, 2, 16, 7, 4), levels: PYRAMID },
    Case { name: "few-bfloat16-boxes", full: false, types: (2, 2, 4), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float64", full: false, types: (3, 3, 0), sizes: (2, 2, 32, 7, 4), levels: PYRAMID },
    Case { name: "few-float64-boxes", full: false, types: (3, 3, 4), sizes: (1, 3, 16, 5, 4), levels: PYRAMID },
    Case { name: "one-query", full: false, types: (0, 0, 0), sizes: (1, 1, 8, 1, 2), levels: &[(3, 5)] },
    Case { name: "one-cell-boxes", full: true, types: (0, 0, 4), sizes: (1, 1, 8, 1, 6), levels: &[(1, 1)] },
    Case { name: "odd-maps", full: true, types: (0, 0, 2), sizes: (2, 1, 24, 5, 3), levels: &[(5, 3), (1, 1)] },
    Case { name: "wide-head", full: true, types: (0, 0, 0), sizes: (1, 1, 128, 3, 3), levels: &[(5, 3), (1, 7)] },
    Case { name: "wide-head-float64", full: true, types: (3, 3, 2), sizes: (1, 1, 128, 3, 2), levels: &[(5, 3)] },
    Case { name: "one-lane", full: true, types: (1, 1, 2), sizes: (1, 2, 8, 9, 8), levels: &[(5, 3), (4, 4), (1, 1), (2, 3), (3, 2)] },
    Case { name: "two-lanes", full: true, types: (2, 0, 0), sizes: (1, 3, 16, 6, 5), levels: &[(4, 5), (2, 3)] },
    Case { name: "cells-float32", full: true, types: (0, 0, 0), sizes: (2, 1, 32, 0, 2), levels: MAPS },
    Case { name: "cells-float32-points", full: true, types: (0, 0, 2), sizes: (1, 2, 32, 0, 2), levels: MAPS },
    Case { name: "cells-float16-points", full: true, types: (1, 1, 2), sizes: (1, 2, 32, 0, 3), levels: MAPS },
    Case { name: "cells-bfloat16-boxes", full: true, types: (2, 2, 4), sizes: (1, 1, 64, 0, 2), levels: &[(17, 3), (5, 23)] },
    Case { name: "cells-float64", full: true, types: (3, 3, 0), sizes: (1, 1, 16, 0, 2), levels: &[(9, 3), (2, 5)] },
    Case { name: "cells-beyond-windows", full: true, types: (0, 0, 2), sizes: (1, 1, 16, 0, 1), levels: &[(24, 23), (3, 14)] },
    Case { name: "cells-narrow-head", full: true, types: (0, 0, 0), sizes: (1, 3, 8, 0, 1), levels: &[(9, 10)] },
    Case { name: "cells-wide-head", full: true, types: (0, 0, 0), sizes: (1, 1, 128, 0, 1), levels: &[(5, 7), (2, 2), (1, 2), (1, 1), (1, 1)] },
];

fn common_specialisations(gpu: &Gpu) -> Vec<Specialisation> {
    (0..=FLOAT64).flat_map(|dtype| specialisations(gpu, dtype, Sizes::default()).unwrap()).collect()
}

fn call_of(case: &Case) -> Call {
    let ((dtype, points_dtype, reference_size), (b, m, d, q, p)) = (case.types, case.sizes);
    let s = case.levels.iter().map(|(h, w)| h * w).sum();
    let (l, q) = (case.levels.len() as i64, if q == 0 { s } else { q });
    Call {
        shape: DeformAttnShape { b, s, m, d, q, l, p, spatial_shapes: null() },
        inputs: DeformAttnInputs { dtype, points_dtype, reference_size, ..DeformAttnInputs::NONE },
        levels: case.levels.to_vec(),
    }
}

fn launch_json(launch: &Launch) -> String {
    let Launch { kernel, grid, block, shared_bytes, windows } = launch;
    let Windows { height, width, start } = windows;
    format!(
        r#"{{"kernel": "{kernel}", "grid": {grid:?}, "block": {block}, "shared_bytes": {shared_bytes}, "windows": {:?}}}"#,
        [height, width, start]
    )
}

fn case_json(case: &Case) -> String {
    let (call, gpu) = (call_of(case), if case.full { TINY } else { H100 });
    assert_eq!(supports(&call), Ok(()), "{}", case.name);
    let list = |launches: Vec<Launch>| launches.iter().map(launch_json).collect::<Vec<_>>().join(", ");
    let (specialisation, launch) = forward(&call, &gpu);
    let DeformAttnShape { b, m, d, q, p, .. } = call.shape;
    let DeformAttnInputs { dtype, points_dtype, reference_size, .. } = call.inputs;
    let levels: Vec<[i64; 2]> = call.levels.iter().map(|&(h, w)| [h, w]).collect();
    let fields = [
        format!(
            r#""call": {{"dtype": {dtype}, "points_dtype": {points_dtype}, "reference_size": {reference_size}, "b": {b}, "m": {m}, "d": {d}, "q": {q}, "p": {p}, "levels": {levels:?}}}"#
        ),
        format!(r#""defines": {:?}"#, specialisation.defines()),
        format!(r#""hash": {}"#, specialisation.hash()),
        format!(r#""forward": {}"#, launch_json(&launch)),
        format!(r#""backward": [{}]"#, list(backward(&call, &gpu, ALL, false).1)),
        format!(r#""backward_without_value": [{}]"#, list(backward(&call, &gpu, NO_VALUE, false).1)),
        format!(r#""deterministic": [{}]"#, list(backward(&call, &gpu, ALL, true).1)),
    ];
    format!("    \"{}\": {{\n      {}\n    }}", case.name, fields.join(",\n      "))
}

/// Where the fields of a struct lie: `"name": {"field": offset, …, "bytes": size}`.
macro_rules! layout {
    ($type:ident as $name:literal: $($field:ident $(as $of:ident . $part:ident)?),+) => {{
        let fields = [$((stringify!($field), layout!(@offset $type $field $($of.$part)?))),+, ("bytes", size_of::<$type>())];
        object($name, &fields)
    }};
    (@offset $type:ident $field:ident) => { offset_of!($type, $field) };
    (@offset $type:ident $field:ident $of:ident.$part:ident) => { offset_of!($type, $of.$part) };
}

fn object(name: &str, numbers: &[(&str, impl std::fmt::Display)]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|(name, number)| format!(r#""{name}": {number}"#)).collect();
    format!("    \"{name}\": {{{}}}", numbers.join(", "))
}

#[rustfmt::skip]
fn layouts() -> Vec<String> {
    vec![
        layout!(DeformAttnParams as "DeformAttnParams":
            value, reference, points, weights, grad_out, out, grad_value, grad_points, grad_weights, fixed_point, bound,
            hash, batch, cells, queries, height, width, start,
            window_height as windows.height, window_width as windows.width, window_start as windows.start),
        layout!(DeformAttnShape as "DsctDeformAttnShape": b, s, m, d, q, l, p, spatial_shapes),
        layout!(DeformAttnInputs as "DsctDeformAttnInputs":
            dtype, points_dtype, reference_size, value, reference, points, weights),
        layout!(DeformAttnGradients as "DsctDeformAttnGradients": value, points, weights),
        object("DsctDType", &DTYPE_CODES),
    ]
}

fn table() -> String {
    let common: Vec<String> = common_specialisations(&H100).iter().map(|s| format!("    {:?}", s.defines())).collect();
    let cases: Vec<String> = CASES.iter().map(case_json).collect();
    format!(
        "{{\n  \"layouts\": {{\n{}\n  }},\n  \"cases\": {{\n{}\n  }},\n  \"common\": [\n{}\n  ]\n}}\n",
        layouts().join(",\n"),
        cases.join(",\n"),
        common.join(",\n")
    )
}

#[test]
fn every_planned_kernel_is_in_the_text_of_its_pass() {
    for case in CASES {
        let (call, gpu) = (call_of(case), if case.full { TINY } else { H100 });
        let (specialisation, launch) = forward(&call, &gpu);
        assert!(Pass::Forward.kernels(&specialisation).contains(&launch.kernel));
        for deterministic in [false, true] {
            let (_, launches) = backward(&call, &gpu, ALL, deterministic);
            assert!(launches.iter().all(|launch| Pass::Backward.kernels(&specialisation).contains(&launch.kernel)));
        }
        for pass in Pass::ALL {
            let names = pass.kernels(&specialisation).iter();
            assert!(names.clone().all(|name| pass.source().contains(&format!(" {name}("))), "{names:?}");
        }
    }
}

#[test]
fn the_table_that_the_kernel_tests_read_is_what_the_plans_are() {
    if std::env::var_os("DSCT_UPDATE_PLANS").is_some() {
        std::fs::write("tests/cuda_host/plans.json", table()).unwrap();
    } else {
        assert!(TABLE == table(), "run this test once with DSCT_UPDATE_PLANS=1");
    }
}

fn dsct_call(b: i64, q: Option<i64>) -> Call {
    let levels = vec![(100, 134), (50, 67), (25, 34), (13, 17)];
    let s = levels.iter().map(|(h, w)| h * w).sum();
    let shape = DeformAttnShape { b, s, m: 8, d: 32, q: q.unwrap_or(s), l: 4, p: 4, spatial_shapes: null() };
    Call { shape, inputs: DeformAttnInputs::NONE, levels }
}

#[test]
fn the_encoder_runs_in_tiles_and_the_decoder_shares_points() {
    let (encoder, decoder) = (dsct_call(2, None), dsct_call(2, Some(300)));
    let (specialisation, launch) = forward(&encoder, &H100);
    assert_eq!((specialisation.split, launch.kernel), (1, "deform_attn_forward_tiled"));
    assert_eq!((launch.grid, launch.block, launch.shared_bytes), ([13 * 17 + 7 * 9 + 4 * 5 + 2 * 3, 8, 2], 256, 17408));
    let (specialisation, launch) = forward(&decoder, &H100);
    assert_eq!((specialisation.split, launch.kernel), (4, "deform_attn_forward"));
    assert_eq!((launch.grid, launch.block), ([300, 2, 1], 256));
}

#[test]
fn forward_and_backward_share_one_specialisation() {
    for call in [dsct_call(2, None), dsct_call(2, Some(300))] {
        assert_eq!(forward(&call, &H100).0, backward(&call, &H100, ALL, false).0);
        assert_eq!(forward(&call, &H100).0, backward(&call, &H100, ALL, true).0);
    }
}

#[test]
fn the_backward_kernel_follows_what_is_wanted() {
    let names = |call: &Call, gpu: &Gpu, wants: Wants, deterministic: bool| {
        backward(call, gpu, wants, deterministic).1.iter().map(|launch| launch.kernel).collect::<Vec<_>>()
    };
    let (encoder, decoder) = (dsct_call(2, None), dsct_call(2, Some(300)));
    let points_only = Wants { value: false, points: true, weights: false };
    let nothing = Wants { value: false, points: false, weights: false };
    let fixed_point = ["deform_attn_backward_fixed_point", "deform_attn_from_fixed_point"];
    assert_eq!(names(&encoder, &H100, ALL, false), ["deform_attn_backward_tiled"]);
    assert_eq!(names(&decoder, &H100, ALL, false), ["deform_attn_backward"]);
    assert_eq!(names(&encoder, &H100, ALL, true), fixed_point);
    assert_eq!(names(&encoder, &H100, points_only, true), ["deform_attn_backward"]);
    assert_eq!(names(&encoder, &RTX_2080, ALL, false), ["deform_attn_backward"], "no room for windows");
    assert!(names(&encoder, &H100, nothing, false).is_empty());
}

#[test]
fn the_windows_fit_and_lie_one_after_the_other() {
    let (specialisation, launches) = backward(&dsct_call(2, None), &H100, ALL, false);
    let (windows, staged) = (launches[0].windows, 64 * (specialisation.staged_bytes(true) + 17 * 8) + 4 * 64 + 64);
    assert_eq!((&windows.height[..4], &windows.width[..4]), (&[20, 16, 14, 13][..], &[20, 16, 15, 14][..]));
    assert_eq!(windows.start[..4], [0, 400, 656, 866]);
    assert_eq!(launches[0].shared_bytes, staged + (866 + 13 * 14) * 32 * 4);
    assert!(launches[0].shared_bytes <= H100.shared_bytes_per_block);
}

#[test]
fn a_block_of_pairs_never_needs_more_shared_memory_than_every_gpu_has() {
    for (dtype, d, p) in [(1, 8, 32), (0, 8, 32), (3, 8, 32), (3, 128, 32), (0, 128, 1), (1, 24, 7)] {
        let points_dtype = if dtype == 3 { 3 } else { 0 };
        let mut call = dsct_call(64, Some(1000));
        (call.inputs.dtype, call.inputs.points_dtype, call.shape.d, call.shape.p) = (dtype, points_dtype, d, p);
        assert_eq!(supports(&call), Ok(()));
        let (specialisation, launches) = backward(&call, &H100, ALL, false);
        assert!(launches[0].shared_bytes <= SHARED_BYTES, "{specialisation:?} {launches:?}");
        assert_eq!(WARP % specialisation.group(), 0);
        assert_eq!(launches[0].block % WARP, 0);
    }
}

#[test]
fn refusals_name_the_reason() {
    let refusal = |change: &dyn Fn(&mut Call)| {
        let mut call = dsct_call(2, None);
        change(&mut call);
        supports(&call).unwrap_err()
    };
    assert!(refusal(&|call| call.shape.d = 30).contains("30 channels per head"));
    assert!(refusal(&|call| call.shape.d = 4 * 67).contains("268 channels per head"));
    assert!(refusal(&|call| call.shape.p = 40).contains("160 points"));
    assert!(refusal(&|call| call.shape.l = 9).contains("9 levels"));
    assert!(refusal(&|call| call.shape.b = 70_000).contains("70000 images"));
    assert!(refusal(&|call| call.shape.q = 1 << 30).contains("queries"));
    assert!(refusal(&|call| call.shape.s = 1 << 25).contains("elements"));
    assert!(refusal(&|call| call.inputs.points_dtype = 1).contains("points of dtype 1"));
    assert!(refusal(&|call| call.shape.b = 0).contains("empty"));
}

#[test]
fn every_specialisation_has_its_own_hash() {
    let all = common_specialisations(&H100);
    let hashes: std::collections::HashSet<u32> = all.iter().map(Specialisation::hash).collect();
    assert_eq!((all.len(), hashes.len()), (24, 24));
}

#[test]
fn parameters_hold_the_call() {
    let call = dsct_call(2, Some(300));
    let (specialisation, launch) = forward(&call, &H100);
    let params = DeformAttnParams::new(&call, &specialisation, &launch);
    assert_eq!((params.batch, params.cells, params.queries, params.hash), (2, 17821, 300, specialisation.hash()));
    assert_eq!(params.start[..4], [0, 13400, 16750, 17600]);
    assert!(params.value.is_null() && params.bound.is_null());
}
