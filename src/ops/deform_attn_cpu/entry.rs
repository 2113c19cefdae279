//! C entry points of the CPU kernels, as declared in `cuda/registration/deform_attn.h`: raw pointers to slices, dtype
//! codes to types.

use std::ffi::c_void;

use super::{backward, forward, Element, Gradients, Level, Points, Sizes, Stored};
use crate::ops::c_abi::{
    arithmetic, checked_count, dispatch, slice, status, DeformAttnGradients, DeformAttnInputs, DeformAttnShape,
};

/// The sizes of a call. The registration has checked them under the arguments' names; here they are checked again, so
/// that no number in `shape` reaches memory beyond the tensors.
///
/// # Safety
/// `spatial_shapes` holds 2·L numbers, if each of L levels can have one of the S cells.
unsafe fn sizes(shape: &DeformAttnShape) -> Result<Sizes, String> {
    let DeformAttnShape { b, s, m, d, q, l, p, .. } = *shape;
    checked_count("value", &[b, s, m, d])?;
    checked_count("the output", &[b, q, m, d])?;
    checked_count("the points", &[b, q, m, l, p, 2])?;
    checked_count("the reference", &[b, q, l, 4])?;
    if s > i64::from(i32::MAX) {
        return Err(format!("value has {s} cells, at most {} are supported", i32::MAX));
    }
    if l > s {
        return Err(format!("{l} levels have more than the {s} cells of value"));
    }
    let (mut levels, mut start) = (Vec::new(), 0);
    for (h, w) in shape.levels() {
        if h < 1 || w < 1 || w > (s - start) / h {
            return Err(format!("a level of {h} x {w} cells does not fit into {s}"));
        }
        levels.push(Level { h: h as i32, w: w as i32, start: start as i32 });
        start += h * w;
    }
    if start != s {
        return Err(format!("the levels have {start} cells, value has {s}"));
    }
    let [b, s, m, d, q, p] = [b, s, m, d, q, p].map(|n| n as usize);
    Ok(Sizes { b, s, m, d, q, p, levels })
}

unsafe fn points<'a, E: Element>(sizes: &Sizes, inputs: &DeformAttnInputs) -> Result<Points<'a, E>, String> {
    let n = sizes.items() * sizes.points();
    let size = inputs.reference_size as usize;
    let low = inputs.points_dtype == inputs.dtype;
    let arithmetic = arithmetic(inputs.dtype);
    match size {
        0 if inputs.points_dtype == arithmetic => {
            Ok(Points::Located { locations: slice(inputs.points, 2 * n), weights: slice(inputs.weights, n) })
        }
        2 | 4 if low || inputs.points_dtype == arithmetic => {
            let references = slice(inputs.reference, sizes.b * sizes.q * sizes.levels.len() * size);
            let stored = |pointer, len| match low {
                true => Stored::Element(slice(pointer, len)),
                false => Stored::Real(slice(pointer, len)),
            };
            let (offsets, logits) = (stored(inputs.points, 2 * n), stored(inputs.weights, n));
            Ok(Points::Offset { references, size, offsets, logits })
        }
        _ => Err(format!("no kernel reads points of dtype {} with references of {size}", inputs.points_dtype)),
    }
}

/// # Safety
/// `to` is null or holds `count` numbers.
unsafe fn zero<T>(to: *mut c_void, count: usize) {
    if !to.is_null() {
        std::ptr::write_bytes(to.cast::<T>(), 0, count);
    }
}

unsafe fn forward_raw<E: Element>(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    out: *mut c_void,
    threads: i32,
) -> Result<(), String> {
    let sizes = sizes(shape)?;
    let points = points(&sizes, inputs)?;
    let numbers = sizes.items() * sizes.d;
    if numbers == 0 || sizes.points() == 0 {
        zero::<E>(out, numbers);
        return Ok(());
    }
    let value = slice::<E>(inputs.value, sizes.b * sizes.s * sizes.m * sizes.d);
    let out = std::slice::from_raw_parts_mut(out.cast::<E>(), numbers);
    forward(&sizes, value, &points, out, threads.max(1) as usize);
    Ok(())
}

unsafe fn backward_raw<E: Element>(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    grad_out: *const c_void,
    grads: &DeformAttnGradients,
    threads: i32,
) -> Result<(), String> {
    let sizes = sizes(shape)?;
    let points = points(&sizes, inputs)?;
    let numbers = sizes.b * sizes.s * sizes.m * sizes.d;
    if sizes.d == 0 || sizes.items() == 0 || sizes.points() == 0 {
        let points = sizes.items() * sizes.points();
        zero::<E>(grads.value, numbers);
        zero::<E::Real>(grads.points, 2 * points);
        zero::<E::Real>(grads.weights, points);
        return Ok(());
    }
    let value = slice::<E>(inputs.value, numbers);
    let grad_out = slice::<E>(grad_out, sizes.items() * sizes.d);
    let grads = Gradients { value: grads.value.cast(), points: grads.points.cast(), weights: grads.weights.cast() };
    backward(&sizes, value, &points, grad_out, &grads, threads.max(1) as usize);
    Ok(())
}

/// # Safety
/// As declared in `cuda/registration/deform_attn.h`: contiguous tensors of the sizes in `shape`.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cpu_forward(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    out: *mut c_void,
    threads: i32,
) -> i32 {
    status(|| dispatch!(inputs.dtype, forward_raw(shape, inputs, out, threads)))
}

/// # Safety
/// As declared in `cuda/registration/deform_attn.h`: contiguous tensors of the sizes in `shape`, or null gradients.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cpu_backward(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    grad_out: *const c_void,
    grads: &DeformAttnGradients,
    threads: i32,
) -> i32 {
    status(|| dispatch!(inputs.dtype, backward_raw(shape, inputs, grad_out, grads, threads)))
}
