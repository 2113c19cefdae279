//! What one compilation of the kernels is made for, and what follows from it for groups of threads and their memory.

use std::ptr::null;

use super::call::{lanes, supports, Call, Gpu, SHARED_BYTES, WARP};
use super::Sizes;
use crate::ops::c_abi::{arithmetic, DeformAttnInputs, DeformAttnShape, FLOAT64};

/// Threads per multiprocessor below which a GPU is too empty to hide the latency of memory.
const THREADS_TO_FILL: i64 = 1024;

/// One compilation of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Specialisation {
    pub(super) dtype: i32,
    points_dtype: i32,
    reference_size: i32,
    pub(super) d: u32,
    m: u32,
    pub(super) l: u32,
    pub(super) p: u32,
    pub(super) split: u32,
}

impl Specialisation {
    pub(super) fn new(call: &Call, gpu: &Gpu) -> Self {
        let DeformAttnShape { d, m, l, p, .. } = call.shape;
        let DeformAttnInputs { dtype, points_dtype, reference_size, .. } = call.inputs;
        let [d, m, l, p] = [d, m, l, p].map(|size| size as u32);
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
    pub(super) fn group(&self) -> u32 {
        self.lanes() * self.split
    }

    /// Shared memory of one group: four weights and four offsets per point; backward four dot products too.
    pub(super) fn staged_bytes(&self, backward: bool) -> u32 {
        let four_reals = if self.dtype == FLOAT64 { 32 } else { 16 };
        (self.l * self.p + 1) * (four_reals * (1 + u32::from(backward)) + 16)
    }
}

/// Whether one group without point splitting per (query, head) gives the GPU enough to do.
pub(super) fn fills(call: &Call, gpu: &Gpu) -> bool {
    let DeformAttnShape { b, m, d, q, .. } = call.shape;
    let threads = (b * q * m).saturating_mul(i64::from(lanes(call.inputs.dtype, d as u32)));
    threads >= i64::from(gpu.multiprocessors) * THREADS_TO_FILL
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
            let points_dtype = if reference_size != 0 { dtype } else { arithmetic(dtype) };
            let call = Call {
                shape: DeformAttnShape { b, s: l, m, d, q, l, p, spatial_shapes: null() },
                inputs: DeformAttnInputs { dtype, points_dtype, reference_size, ..DeformAttnInputs::NONE },
                levels: vec![(1, 1); sizes.levels as usize],
            };
            supports(&call)?;
            let one = Specialisation::new(&call, gpu);
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    Ok(all)
}
