//! Which CUDA kernels serve a call, and how they are launched: plain numbers in, plain numbers out.
//!
//! The kernels are `cuda/kernels/deform_attn_*.cuh`; what they say about grids, groups of threads and shared memory is
//! computed here, and `tests/cuda_host/plans.json` holds examples that the Rust and the Python tests share.

use super::call::{Call, Gpu, MAX_LEVELS, SHARED_BYTES, WARP};
use super::specialisation::{fills, Specialisation};
use crate::ops::c_abi::{DeformAttnShape, FLOAT64};

const TILE_SIDE: i64 = 8;
const TILE_QUERIES: u32 = 64;

/// Which gradients somebody needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) value: bool,
    pub(super) points: bool,
    pub(super) weights: bool,
}

/// Windows of the tiled backward kernel, per level: cells of a map that one block accumulates in shared memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows {
    height: [i32; MAX_LEVELS],
    width: [i32; MAX_LEVELS],
    start: [i32; MAX_LEVELS],
}

/// One kernel launch; launches of a plan run one after the other on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) kernel: &'static str,
    pub(super) grid: [u32; 3],
    pub(super) block: u32,
    /// Dynamic shared memory. Beyond 48 KiB the function attribute must be raised first.
    pub(super) shared_bytes: u32,
    pub(super) windows: Windows,
}

fn divide_up(a: i64, b: i64) -> i64 {
    (a + b - 1) / b
}

/// Whether neighbouring queries look at neighbouring cells, as far as sizes can tell.
fn tiles_pay(call: &Call, gpu: &Gpu) -> bool {
    call.shape.q == call.shape.s && fills(call, gpu)
}

/// `call` must be one that [`supports`](super::call::supports) accepts; so below.
pub(super) fn forward(call: &Call, gpu: &Gpu) -> (Specialisation, Launch) {
    let specialisation = Specialisation::new(call, gpu);
    let launch = if tiles_pay(call, gpu) {
        let (block, shared_bytes) = tiled_block(&specialisation);
        launch("deform_attn_forward_tiled", tile_grid(call), block, shared_bytes)
    } else {
        pair_launch("deform_attn_forward", call, gpu, &specialisation, false)
    };
    (specialisation, launch)
}

/// The launches of a backward pass, in order. Without `wants.value` every kernel is deterministic.
pub(super) fn backward(call: &Call, gpu: &Gpu, wants: Wants, deterministic: bool) -> (Specialisation, Vec<Launch>) {
    let specialisation = Specialisation::new(call, gpu);
    let launches = if wants.value && deterministic {
        let DeformAttnShape { b, s, m, d, .. } = call.shape;
        let elements = b * s * m * d;
        let blocks = divide_up(elements, 256).min(i64::from(gpu.multiprocessors).max(1) * 8) as u32;
        vec![
            pair_launch("deform_attn_backward_fixed_point", call, gpu, &specialisation, true),
            launch("deform_attn_from_fixed_point", [blocks, 1, 1], 256, 0),
        ]
    } else if let Some(tiled) = wants.value.then(|| tiled_backward(call, gpu, &specialisation)).flatten() {
        vec![tiled]
    } else if wants.value || wants.points || wants.weights {
        vec![pair_launch("deform_attn_backward", call, gpu, &specialisation, true)]
    } else {
        vec![]
    };
    (specialisation, launches)
}

fn launch(kernel: &'static str, grid: [u32; 3], block: u32, shared_bytes: u32) -> Launch {
    Launch { kernel, grid, block, shared_bytes, windows: Windows::default() }
}

/// Groups of threads over all (query, head) pairs of an image.
fn pair_launch(kernel: &'static str, call: &Call, gpu: &Gpu, of: &Specialisation, backward: bool) -> Launch {
    let DeformAttnShape { b, m, q, .. } = call.shape;
    let shared = |block: u32| block / of.group() * of.staged_bytes(backward);
    let blocks = |block: u32| divide_up(q * m, i64::from(block / of.group()));
    let mut block = 256;
    // Smaller blocks spread few pairs over more multiprocessors.
    while block > WARP && (shared(block) > SHARED_BYTES || blocks(block) * b < 2 * i64::from(gpu.multiprocessors)) {
        block /= 2;
    }
    launch(kernel, [blocks(block) as u32, b as u32, 1], block, shared(block))
}

fn tile_grid(call: &Call) -> [u32; 3] {
    let tiles = |&(h, w): &(i64, i64)| divide_up(h, TILE_SIDE) * divide_up(w, TILE_SIDE);
    [call.levels.iter().map(tiles).sum::<i64>() as u32, call.shape.m as u32, call.shape.b as u32]
}

/// Threads and shared memory of the tiled forward kernel.
fn tiled_block(of: &Specialisation) -> (u32, u32) {
    let shared = |block: u32| block / of.group() * of.staged_bytes(false);
    let mut block = (TILE_QUERIES * of.group()).min(256);
    while block > WARP && shared(block) > SHARED_BYTES {
        block /= 2;
    }
    (block, shared(block))
}

/// `None` where tiles do not pay or shared memory cannot hold windows worth having.
fn tiled_backward(call: &Call, gpu: &Gpu, of: &Specialisation) -> Option<Launch> {
    if of.dtype == FLOAT64 || !tiles_pay(call, gpu) {
        return None;
    }
    let block = (TILE_QUERIES * of.group()).min(512);
    let window_numbers = (of.l * of.p + 1) * 8; // four 16-bit numbers per point
    let fixed =
        block / of.group() * (of.staged_bytes(true) + window_numbers) + 4 * TILE_QUERIES + 8 * MAX_LEVELS as u32;
    let cell = 4 * of.d;
    let budget = gpu.shared_bytes_per_block.checked_sub(fixed)? / cell;
    let (windows, cells) = fit_windows(call, i64::from(budget))?;
    let mut tiled = launch("deform_attn_backward_tiled", tile_grid(call), block, fixed + cells * cell);
    tiled.windows = windows;
    Some(tiled)
}

/// The largest windows within `budget` cells: what a tile of the finest map covers, plus a margin for the offsets.
fn fit_windows(call: &Call, budget: i64) -> Option<(Windows, u32)> {
    let finest_h = call.levels.iter().map(|level| level.0).max()?;
    let finest_w = call.levels.iter().map(|level| level.1).max()?;
    let side = |size: i64, finest: i64, margin: i64| size.min(divide_up(TILE_SIDE * size, finest) + margin);
    (4..=12).rev().find_map(|margin| {
        let (mut windows, mut cells) = (Windows::default(), 0);
        for (level, &(h, w)) in call.levels.iter().enumerate() {
            let (height, width) = (side(h, finest_h, margin), side(w, finest_w, margin));
            windows.height[level] = height as i32;
            windows.width[level] = width as i32;
            windows.start[level] = cells as i32;
            cells += height * width;
        }
        // The kernel numbers window cells with 16 bits and keeps the last number free.
        (cells <= budget.min(i64::from(u16::MAX))).then_some((windows, cells as u32))
    })
}

#[cfg(test)]
#[path = "../../../tests/cuda_host/plan_tests.rs"]
mod plan_tests;
