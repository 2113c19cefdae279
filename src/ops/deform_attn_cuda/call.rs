//! One call of the operator, the GPU that is to serve it, and whether the kernels can.

use crate::ops::c_abi::{arithmetic, DeformAttnInputs, DeformAttnShape, BFLOAT16, FLOAT16, FLOAT64};

pub(super) const MAX_LEVELS: usize = 8;
const MAX_POINTS: i64 = 128;
const MAX_CHANNELS_PER_THREAD: i64 = 32;
pub(super) const WARP: u32 = 32;
/// Shared memory that a block may use on every GPU without asking.
pub(super) const SHARED_BYTES: u32 = 48 << 10;

/// One call as it comes in, with its levels read.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) shape: DeformAttnShape,
    pub(super) inputs: DeformAttnInputs,
    /// (height, width) of each level.
    pub(super) levels: Vec<(i64, i64)>,
}

impl Call {
    /// # Safety
    /// `shape.spatial_shapes` holds 2·L numbers.
    pub(super) unsafe fn new(shape: &DeformAttnShape, inputs: &DeformAttnInputs) -> Self {
        Self { shape: *shape, inputs: *inputs, levels: shape.levels() }
    }
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

/// Channels in 16 bytes.
fn vector(dtype: i32) -> u32 {
    match dtype {
        FLOAT16 | BFLOAT16 => 8,
        FLOAT64 => 2,
        _ => 4,
    }
}

/// Threads over the channels of a head: the largest power of two that divides its 16-byte pieces, at most a warp.
pub(super) fn lanes(dtype: i32, d: u32) -> u32 {
    1 << (d / vector(dtype)).trailing_zeros().min(WARP.trailing_zeros())
}

/// # Errors
/// The reason why no kernel takes this call.
pub(super) fn supports(call: &Call) -> Result<(), String> {
    let DeformAttnShape { b, s, m, d, q, l, p, .. } = call.shape;
    let DeformAttnInputs { dtype, points_dtype, reference_size, .. } = call.inputs;
    let reason = if !(0..=FLOAT64).contains(&dtype) {
        "an unknown dtype".into()
    } else if ![0, 2, 4].contains(&reference_size) {
        format!("reference points of {reference_size} numbers")
    } else if points_dtype != arithmetic(dtype) && !(reference_size != 0 && points_dtype == dtype) {
        format!("points of dtype {points_dtype} with values of dtype {dtype}")
    } else if [b, s, m, d, q, l, p].iter().any(|&size| size < 1) {
        "an empty tensor".into()
    } else {
        return supports_sizes(call);
    };
    Err(format!("no CUDA kernel for {reason}"))
}

fn supports_sizes(call: &Call) -> Result<(), String> {
    let DeformAttnShape { b, s, m, d, q, l, p, .. } = call.shape;
    let vector = i64::from(vector(call.inputs.dtype));
    let per_thread = || d / i64::from(lanes(call.inputs.dtype, d as u32));
    let int32 = i64::from(i32::MAX);
    let reason = if d % vector != 0 || d > int32 || per_thread() > MAX_CHANNELS_PER_THREAD {
        format!("{d} channels per head: wanted is a multiple of {vector} without a large odd factor")
    } else if l > MAX_LEVELS as i64 || call.levels.len() as i64 != l {
        format!("{l} levels: at most {MAX_LEVELS}")
    } else if l.saturating_mul(p) > MAX_POINTS {
        format!("{} points per query and head: at most {MAX_POINTS}", l.saturating_mul(p))
    } else if b > 65535 || m > 65535 {
        format!("{b} images and {m} heads: at most 65535")
    } else if q.saturating_mul(m) > int32 {
        format!("{q} queries of {m} heads: at most {int32} together")
    } else if s > int32 || (s * m).saturating_mul(d) >= i64::from(u32::MAX) {
        format!("{s} cells of {} channels: an image must have fewer than {} elements", m * d, u32::MAX)
    } else {
        return Ok(());
    };
    Err(format!("no CUDA kernel for {reason}"))
}
