//! Multi-scale deformable attention (Deformable DETR, Eq. 3), the public operators.
//!
//! out[b, q, m] = Σ_l Σ_p attention_weights[b, q, m, l, p] · bilinear(value_l[b, :, m], sampling_locations[b, q, m, l, p])
//!
//! Bilinear interpolation with zeros outside and `align_corners = False`: a location (x, y) in [0, 1] lies at cell
//! coordinate (x·W − ½, y·H − ½). The operators are registered in `cuda/registration/deform_attn_ops.cpp`.

use std::ffi::c_void;
use std::ptr::null;

use tch::Tensor;

use super::dispatcher::{call, pointer, Failure};
use crate::Result;

extern "C" {
    fn dsct_deform_attn(
        value: *const c_void,
        shapes: *const i64,
        len: usize,
        reference: *const c_void,
        points: *const c_void,
        weights: *const c_void,
        failure: *mut Failure,
    ) -> *mut c_void;
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
    deform_attn(value, spatial_shapes, None, sampling_locations, attention_weights)
}

/// [`ms_deform_attn`] at `reference_points` + `sampling_offsets` with softmax(`logits`) as attention weights, none of
/// which is stored.
///
/// * `value` and `spatial_shapes` as there.
/// * `reference_points` (B, Q, L, 2) as (x, y): offsets are in cells, x = reference + offset / W. Or (B, Q, L, 4) as
///   (cx, cy, w, h): offsets are in parts of the box, x = cx + offset / P · w / 2. Both in [0, 1].
/// * `sampling_offsets` (B, Q, M, L, P, 2); `logits` (B, Q, M, L, P), whose softmax runs over L·P.
///
/// # Errors
/// Shapes, dtypes, devices and level sizes that do not fit, by argument name.
pub fn ms_deform_attn_fused(
    value: &Tensor,
    spatial_shapes: &[(i64, i64)],
    reference_points: &Tensor,
    sampling_offsets: &Tensor,
    logits: &Tensor,
) -> Result<Tensor> {
    deform_attn(value, spatial_shapes, Some(reference_points), sampling_offsets, logits)
}

fn deform_attn(
    value: &Tensor,
    spatial_shapes: &[(i64, i64)],
    reference: Option<&Tensor>,
    points: &Tensor,
    weights: &Tensor,
) -> Result<Tensor> {
    let shapes: Vec<i64> = spatial_shapes.iter().flat_map(|&(h, w)| [h, w]).collect();
    let [value, points, weights] = [value, points, weights].map(pointer);
    let reference = reference.map_or(null(), pointer);
    // SAFETY: the tensors outlive the call, `shapes` holds `len` numbers, and the callee lets no exception out.
    call(|failure| unsafe {
        dsct_deform_attn(value, shapes.as_ptr(), shapes.len(), reference, points, weights, failure)
    })
}
