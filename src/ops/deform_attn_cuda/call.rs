//! One call of the operator in plain numbers, the GPU that is to serve it, and whether the kernels can.

pub(super) const MAX_LEVELS: usize = 8;
const MAX_POINTS: i64 = 128;
const MAX_CHANNELS_PER_THREAD: i64 = 32;
pub(super) const WARP: u32 = 32;
/// Shared memory that a block may use on every GPU without asking.
pub(super) const SHARED_BYTES: u32 = 48 << 10;

const FLOAT16: i32 = 1;
const BFLOAT16: i32 = 2;
pub(super) const FLOAT64: i32 = 3;

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
