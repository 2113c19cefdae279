//! Which CUDA kernels serve a call, and how they are launched: plain numbers in, plain numbers out.
//!
//! The kernels are `cuda/deform_attn_*.cuh`; what is said there about grids, groups of threads and shared memory is
//! computed here, and `tests/cuda_host/plans.json` holds examples that the Rust and the Python tests share.

use std::ffi::c_void;
use std::ptr::null_mut;

use super::Sizes;

/// Kernels that are compiled together: inference does not wait for those of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    Forward,
    Backward,
}

impl Pass {
    pub(super) const ALL: [Self; 2] = [Self::Forward, Self::Backward];

    /// What the text holds.
    pub(super) fn kernels(self, of: &Specialisation) -> &'static [&'static str] {
        const BACKWARD: [&str; 4] = [
            "deform_attn_backward",
            "deform_attn_backward_fixed_point",
            "deform_attn_from_fixed_point",
            "deform_attn_backward_tiled",
        ];
        match self {
            Self::Forward => &["deform_attn_forward", "deform_attn_forward_tiled"],
            Self::Backward if of.dtype == FLOAT64 => &BACKWARD[..3],
            Self::Backward => &BACKWARD,
        }
    }

    /// The text that NVRTC compiles.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Forward => concat!(
                include_str!("../../../cuda/deform_attn_types.cuh"),
                include_str!("../../../cuda/deform_attn_stage.cuh"),
                include_str!("../../../cuda/deform_attn_forward.cuh"),
            ),
            Self::Backward => concat!(
                include_str!("../../../cuda/deform_attn_types.cuh"),
                include_str!("../../../cuda/deform_attn_stage.cuh"),
                include_str!("../../../cuda/deform_attn_backward.cuh"),
                include_str!("../../../cuda/deform_attn_backward_tiled.cuh"),
            ),
        }
    }
}

pub(super) const MAX_LEVELS: usize = 8;
const MAX_POINTS: i64 = 128;
const MAX_CHANNELS_PER_THREAD: i64 = 32;
const WARP: u32 = 32;
const TILE_SIDE: i64 = 8;
const TILE_QUERIES: u32 = 64;
/// Shared memory that a block may use on every GPU without asking.
const SHARED_BYTES: u32 = 48 << 10;
/// Threads per multiprocessor below which a GPU is too empty to hide the latency of memory.
const THREADS_TO_FILL: i64 = 1024;

const FLOAT16: i32 = 1;
const BFLOAT16: i32 = 2;
const FLOAT64: i32 = 3;

/// Sizes and dtypes of one call; letters and codes as in `cuda/deform_attn.h`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) dtype: i32,
    pub(super) points_dtype: i32,
    pub(super) reference_size: i32,
    pub(super) b: i64,
    pub(super) s: i64,
    pub(super) m: i64,
    pub(super) d: i64,
    pub(super) q: i64,
    pub(super) l: i64,
    pub(super) p: i64,
    /// (height, width) of each level.
    pub(super) levels: Vec<(i64, i64)>,
}

/// What the plan depends on of a GPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gpu {
    pub(super) multiprocessors: u32,
    /// 90 for 9.0.
    pub(super) compute_capability: u32,
    /// The opt-in maximum.
    pub(super) shared_bytes_per_block: u32,
}

impl Gpu {
    /// For compiling without one: its numbers decide only how many queries fill it.
    pub(super) fn any() -> Self {
        Self { multiprocessors: 100, compute_capability: 90, shared_bytes_per_block: SHARED_BYTES }
    }
}

/// Which gradients somebody needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) value: bool,
    pub(super) points: bool,
    pub(super) weights: bool,
}

/// One compilation of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Specialisation {
    dtype: i32,
    points_dtype: i32,
    reference_size: i32,
    d: u32,
    m: u32,
    l: u32,
    p: u32,
    split: u32,
}

/// Windows of the tiled backward kernel, per level: cells of a map that one block accumulates in shared memory.
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

/// The kernels' one argument, by value: `DeformAttnParams` of `cuda/deform_attn_types.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct DeformAttnParams {
    pub(super) value: *const c_void,
    pub(super) reference: *const c_void,
    pub(super) points: *const c_void,
    pub(super) weights: *const c_void,
    pub(super) grad_out: *const c_void,
    pub(super) out: *mut c_void,
    pub(super) grad_value: *mut c_void,
    pub(super) grad_points: *mut c_void,
    pub(super) grad_weights: *mut c_void,
    pub(super) fixed_point: *mut c_void,
    pub(super) bound: *const f64,
    hash: u32,
    batch: i32,
    cells: i32,
    queries: i32,
    height: [i32; MAX_LEVELS],
    width: [i32; MAX_LEVELS],
    start: [i32; MAX_LEVELS],
    windows: Windows,
}

impl DeformAttnParams {
    /// Parameters of one launch with every pointer null: the caller sets those that the kernel uses.
    pub(super) fn new(call: &Call, specialisation: &Specialisation, launch: &Launch) -> Self {
        let mut params = Self {
            value: null_mut(),
            reference: null_mut(),
            points: null_mut(),
            weights: null_mut(),
            grad_out: null_mut(),
            out: null_mut(),
            grad_value: null_mut(),
            grad_points: null_mut(),
            grad_weights: null_mut(),
            fixed_point: null_mut(),
            bound: null_mut(),
            hash: specialisation.hash(),
            batch: call.b as i32,
            cells: call.s as i32,
            queries: call.q as i32,
            height: [0; MAX_LEVELS],
            width: [0; MAX_LEVELS],
            start: [0; MAX_LEVELS],
            windows: launch.windows,
        };
        let mut start = 0;
        for (level, &(h, w)) in call.levels.iter().enumerate() {
            (params.height[level], params.width[level], params.start[level]) = (h as i32, w as i32, start);
            start += (h * w) as i32;
        }
        params
    }
}

impl Specialisation {
    fn new(call: &Call, gpu: &Gpu) -> Self {
        let [d, m, l, p] = [call.d, call.m, call.l, call.p].map(|size| size as u32);
        let Call { dtype, points_dtype, reference_size, .. } = *call;
        let mut specialisation = Self { dtype, points_dtype, reference_size, d, m, l, p, split: 1 };
        if !fills(call, gpu) {
            specialisation.split = (WARP / specialisation.lanes()).min((l * p).next_power_of_two());
        }
        // One warp must fit; wider groups are fewer.
        while WARP / specialisation.group() * specialisation.staged_bytes(true) > SHARED_BYTES {
            specialisation.split *= 2;
        }
        specialisation
    }

    /// NVRTC options that make this specialisation out of the text of a [`Pass`].
    pub(super) fn defines(&self) -> Vec<String> {
        let mut defines = self.sizes();
        defines.push(format!("-DDSCT_HASH={}u", self.hash()));
        defines
    }

    fn sizes(&self) -> Vec<String> {
        let sizes = [
            ("DTYPE", self.dtype as u32),
            ("POINTS_DTYPE", self.points_dtype as u32),
            ("REFERENCE", self.reference_size as u32),
            ("D", self.d),
            ("M", self.m),
            ("L", self.l),
            ("P", self.p),
            ("SPLIT", self.split),
        ];
        sizes.iter().map(|(name, value)| format!("-DDSCT_{name}={value}")).collect()
    }

    /// Compared by the kernels: a module never runs with the parameters of another. FNV-1a of the other defines.
    pub(super) fn hash(&self) -> u32 {
        let text = self.sizes().join(" ");
        text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    fn lanes(&self) -> u32 {
        lanes(self.dtype, self.d)
    }

    /// Threads that work on one (query, head).
    fn group(&self) -> u32 {
        self.lanes() * self.split
    }

    /// Shared memory of one group: four weights and four offsets per point; backward four dot products too.
    fn staged_bytes(&self, backward: bool) -> u32 {
        let four_reals = if self.dtype == FLOAT64 { 32 } else { 16 };
        (self.l * self.p + 1) * (four_reals * (1 + u32::from(backward)) + 16)
    }
}

/// Channels in 16 bytes.
fn vector(dtype: i32) -> u32 {
    match dtype {
        FLOAT16 | BFLOAT16 => 8,
        FLOAT64 => 2,
        _ => 4,
    }
}

/// Threads over the channels of a head: the largest power of two that divides its 16-byte pieces, at most a warp.
fn lanes(dtype: i32, d: u32) -> u32 {
    1 << (d / vector(dtype)).trailing_zeros().min(WARP.trailing_zeros())
}

fn divide_up(a: i64, b: i64) -> i64 {
    (a + b - 1) / b
}

/// Whether one group without point splitting per (query, head) gives the GPU enough to do.
fn fills(call: &Call, gpu: &Gpu) -> bool {
    let threads = (call.b * call.q * call.m).saturating_mul(i64::from(lanes(call.dtype, call.d as u32)));
    threads >= i64::from(gpu.multiprocessors) * THREADS_TO_FILL
}

/// Whether neighbouring queries look at neighbouring cells, as far as sizes can tell.
fn tiles_pay(call: &Call, gpu: &Gpu) -> bool {
    call.q == call.s && fills(call, gpu)
}

/// # Errors
/// The reason why no kernel takes this call.
pub(super) fn supports(call: &Call) -> Result<(), String> {
    let arithmetic = if call.dtype == FLOAT64 { FLOAT64 } else { 0 };
    let fused = call.reference_size != 0;
    let reason = if !(0..=FLOAT64).contains(&call.dtype) {
        "an unknown dtype".into()
    } else if ![0, 2, 4].contains(&call.reference_size) {
        format!("reference points of {} numbers", call.reference_size)
    } else if call.points_dtype != arithmetic && !(fused && call.points_dtype == call.dtype) {
        format!("points of dtype {} with values of dtype {}", call.points_dtype, call.dtype)
    } else if [call.b, call.s, call.m, call.d, call.q, call.l, call.p].iter().any(|&size| size < 1) {
        "an empty tensor".into()
    } else {
        return supports_sizes(call);
    };
    Err(format!("no CUDA kernel for {reason}"))
}

fn supports_sizes(call: &Call) -> Result<(), String> {
    let vector = i64::from(vector(call.dtype));
    let per_thread = || call.d / i64::from(lanes(call.dtype, call.d as u32));
    let int32 = i64::from(i32::MAX);
    let reason = if call.d % vector != 0 || call.d > int32 || per_thread() > MAX_CHANNELS_PER_THREAD {
        format!("{} channels per head: wanted is a multiple of {vector} without a large odd factor", call.d)
    } else if call.l > MAX_LEVELS as i64 || call.levels.len() as i64 != call.l {
        format!("{} levels: at most {MAX_LEVELS}", call.l)
    } else if call.l.saturating_mul(call.p) > MAX_POINTS {
        format!("{} points per query and head: at most {MAX_POINTS}", call.l.saturating_mul(call.p))
    } else if call.b > 65535 || call.m > 65535 {
        format!("{} images and {} heads: at most 65535", call.b, call.m)
    } else if call.q.saturating_mul(call.m) > int32 {
        format!("{} queries of {} heads: at most {int32} together", call.q, call.m)
    } else if call.s > int32 || (call.s * call.m).saturating_mul(call.d) >= i64::from(u32::MAX) {
        format!("{} cells of {} channels: an image must have fewer than {} elements", call.s, call.m * call.d, u32::MAX)
    } else {
        return Ok(());
    };
    Err(format!("no CUDA kernel for {reason}"))
}

/// `call` must be one that [`supports`] accepts; so below.
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
        let elements = call.b * call.s * call.m * call.d;
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
    let shared = |block: u32| block / of.group() * of.staged_bytes(backward);
    let blocks = |block: u32| divide_up(call.q * call.m, i64::from(block / of.group()));
    let mut block = 256;
    // Smaller blocks spread few pairs over more multiprocessors.
    while block > WARP && (shared(block) > SHARED_BYTES || blocks(block) * call.b < 2 * i64::from(gpu.multiprocessors))
    {
        block /= 2;
    }
    launch(kernel, [blocks(block) as u32, call.b as u32, 1], block, shared(block))
}

fn tile_grid(call: &Call) -> [u32; 3] {
    let tiles = |&(h, w): &(i64, i64)| divide_up(h, TILE_SIDE) * divide_up(w, TILE_SIDE);
    [call.levels.iter().map(tiles).sum::<i64>() as u32, call.m as u32, call.b as u32]
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

/// Every specialisation that calls of a dtype and these sizes lead to on a GPU, for compiling ahead: plain and with both
/// kinds of reference points, many queries (encoder) and few (decoder).
///
/// # Errors
/// No kernel for these sizes.
pub(super) fn specialisations(gpu: &Gpu, dtype: i32, sizes: Sizes) -> Result<Vec<Specialisation>, String> {
    let [m, d, l, p] = [sizes.heads, sizes.channels, sizes.levels, sizes.points].map(i64::from);
    let mut all = Vec::new();
    for reference_size in [0, 2, 4] {
        // Enough images to fill any GPU, and one image with one query.
        for (b, q) in [(60_000, 1000), (1, 1)] {
            let points_dtype = if reference_size != 0 || dtype == FLOAT64 { dtype } else { 0 };
            let levels = vec![(1, 1); sizes.levels as usize];
            let call = Call { dtype, points_dtype, reference_size, b, s: l, m, d, q, l, p, levels };
            supports(&call)?;
            let one = Specialisation::new(&call, gpu);
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
#[path = "../../../tests/cuda_host/plan_tests.rs"]
mod plan_tests;
