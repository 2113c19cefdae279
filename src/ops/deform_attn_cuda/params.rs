//! What a kernel is given.

use std::ffi::c_void;
use std::ptr::null_mut;

use super::call::{Call, MAX_LEVELS};
use super::plan::{Launch, Windows};
use super::specialisation::Specialisation;

/// The kernels' one argument, by value: `DeformAttnParams` of `cuda/kernels/deform_attn_types.cuh`.
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
    pub(super) hash: u32,
    pub(super) batch: i32,
    pub(super) cells: i32,
    pub(super) queries: i32,
    pub(super) height: [i32; MAX_LEVELS],
    pub(super) width: [i32; MAX_LEVELS],
    pub(super) start: [i32; MAX_LEVELS],
    pub(super) windows: Windows,
}

impl DeformAttnParams {
    /// Parameters of one launch that has no results yet: the caller adds what the kernel fills, and `grad_out`.
    pub(super) fn new(call: &Call, specialisation: &Specialisation, launch: &Launch) -> Self {
        let mut params = Self {
            value: call.inputs.value,
            reference: call.inputs.reference,
            points: call.inputs.points,
            weights: call.inputs.weights,
            grad_out: null_mut(),
            out: null_mut(),
            grad_value: null_mut(),
            grad_points: null_mut(),
            grad_weights: null_mut(),
            fixed_point: null_mut(),
            bound: null_mut(),
            hash: specialisation.hash(),
            batch: call.shape.b as i32,
            cells: call.shape.s as i32,
            queries: call.shape.q as i32,
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
