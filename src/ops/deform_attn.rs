//! Multi-scale deformable attention (Deformable DETR, Eq. 3), the public operator.
//!
//! out[b, q, m] = Σ_l Σ_p attention_weights[b, q, m, l, p] · bilinear(value_l[b, :, m], sampling_locations[b, q, m, l, p])
//!
//! Bilinear interpolation with zeros outside and `align_corners = False`: a location (x, y) in [0, 1] lies at cell
//! coordinate (x·W − ½, y·H − ½). The call goes through torch's dispatcher (`cuda/deform_attn_ops.cpp` registers
//! the operator), so autograd, autocast, tracing and every device apply to callers in Rust as to callers in Python.

use std::ffi::{c_char, c_void, CStr};

use tch::Tensor;

use crate::{Error, Result};

extern "C" {
    fn dsct_ms_deform_attn(
        value: *const c_void,
        shapes: *const i64,
        len: usize,
        locations: *const c_void,
        weights: *const c_void,
        message: *mut *mut c_char,
        kind: *mut i32,
    ) -> *mut c_void;
    fn free(pointer: *mut c_void);
}

/// Deformable attention over L levels.
///
/// * `value` (B, S, M, D), any floating dtype; S = Σ H·W.
/// * `spatial_shapes` L pairs (height, width).
/// * `sampling_locations` (B, Q, M, L, P, 2) as (x, y) in [0, 1] of each level; `attention_weights` (B, Q, M, L, P),
///   which need not sum to 1. Both in the dtype of `value`, or float32 beside a half-precision value.
///
/// Returns (B, Q, M·D) in the dtype of `value`.
///
/// # Errors
/// Shapes, dtypes, devices and level sizes that do not fit, by argument name.
pub fn ms_deform_attn(
    value: &Tensor,
    spatial_shapes: &[(i64, i64)],
    sampling_locations: &Tensor,
    attention_weights: &Tensor,
) -> Result<Tensor> {
    let shapes: Vec<i64> = spatial_shapes.iter().flat_map(|&(h, w)| [h, w]).collect();
    let (mut message, mut kind) = (std::ptr::null_mut(), 0);
    // SAFETY: the tensors outlive the call, `shapes` holds `len` numbers, and the callee lets no exception out.
    let result = unsafe {
        dsct_ms_deform_attn(
            value.as_ptr().cast(),
            shapes.as_ptr(),
            shapes.len(),
            sampling_locations.as_ptr().cast(),
            attention_weights.as_ptr().cast(),
            &mut message,
            &mut kind,
        )
    };
    if !result.is_null() {
        // SAFETY: a new at::Tensor whose ownership passes to this Tensor.
        return Ok(unsafe { Tensor::from_ptr(result.cast()) });
    }
    // SAFETY: on failure `message` is a C string made by strdup.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        text
    };
    Err(match kind {
        1 => Error::Value(text),
        2 => Error::Type(text),
        3 => Error::NotImplemented(text),
        4 => Error::OutOfMemory(text),
        _ => Error::Torch(text.lines().next().unwrap_or_default().to_owned()),
    })
}
