//! C entry points of the CPU kernels, as declared in `cuda/deform_attn.h`: raw pointers to slices, dtype codes to types.
//! No panic crosses; a failed call returns a status and keeps a text.

use std::cell::RefCell;
use std::ffi::{c_char, c_void, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

use half::{bf16, f16};

use super::deform_attn_cpu::{backward, forward, Element, Gradients, Level, Points, Sizes, Stored};
use super::dropout::dropout_cpu;

/// Sizes of one call (`DsctDeformAttnShape`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DeformAttnShape {
    pub(super) b: i64,
    pub(super) s: i64,
    pub(super) m: i64,
    pub(super) d: i64,
    pub(super) q: i64,
    pub(super) l: i64,
    pub(super) p: i64,
    pub(super) spatial_shapes: *const i64,
}

/// Tensors of one call (`DsctDeformAttnInputs`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DeformAttnInputs {
    pub(super) dtype: i32,
    pub(super) points_dtype: i32,
    pub(super) reference_size: i32,
    pub(super) value: *const c_void,
    pub(super) reference: *const c_void,
    pub(super) points: *const c_void,
    pub(super) weights: *const c_void,
}

/// Results of the backward pass (`DsctDeformAttnGradients`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DeformAttnGradients {
    pub(super) value: *mut c_void,
    pub(super) points: *mut c_void,
    pub(super) weights: *mut c_void,
}

impl DeformAttnShape {
    /// (height, width) of each level.
    ///
    /// # Safety
    /// `spatial_shapes` holds 2·L numbers.
    pub(super) unsafe fn levels(&self) -> Vec<(i64, i64)> {
        let numbers = std::slice::from_raw_parts(self.spatial_shapes, 2 * self.l as usize);
        numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// # Safety
/// `shape` has passed the checks of the registration.
unsafe fn sizes(shape: &DeformAttnShape) -> Sizes {
    assert!(i32::try_from(shape.s).is_ok(), "value has {} cells, at most {} are supported", shape.s, i32::MAX);
    let mut start = 0;
    let level = |(h, w): (i64, i64)| {
        let level = Level { h: h as i32, w: w as i32, start };
        start += (h * w) as i32;
        level
    };
    let levels = shape.levels().into_iter().map(level).collect();
    let [b, s, m, d, q, p] = [shape.b, shape.s, shape.m, shape.d, shape.q, shape.p].map(|n| n as usize);
    Sizes { b, s, m, d, q, p, levels }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Keeps `text` for `dsct_last_error`, and is the status that says so.
pub(super) fn failed(text: &str) -> i32 {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    LAST_ERROR.with(|last| *last.borrow_mut() = text);
    1
}

/// Runs `kernel`; an error or a panic becomes a status and a text, it never crosses into C++.
pub(super) fn status(kernel: impl FnOnce() -> Result<(), String>) -> i32 {
    match catch_unwind(AssertUnwindSafe(kernel)) {
        Ok(Ok(())) => 0,
        Ok(Err(text)) => failed(&text),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            failed(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic"))
        }
    }
}

#[no_mangle]
extern "C" fn dsct_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Calls `$f::<E>` for a dtype code.
macro_rules! dispatch {
    ($dtype:expr, $f:ident ( $($arg:tt)* )) => {
        match $dtype {
            0 => $f::<f32>($($arg)*),
            1 => $f::<f16>($($arg)*),
            2 => $f::<bf16>($($arg)*),
            _ => $f::<f64>($($arg)*),
        }
    };
}

unsafe fn slice<'a, T>(pointer: *const c_void, len: usize) -> &'a [T] {
    // An empty tensor may have a null data pointer, which no slice may have.
    if len == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(pointer.cast(), len)
    }
}

unsafe fn points<'a, E: Element>(sizes: &Sizes, inputs: &DeformAttnInputs) -> Points<'a, E> {
    let n = sizes.items() * sizes.points();
    let size = inputs.reference_size as usize;
    if size == 0 {
        return Points::Located { locations: slice(inputs.points, 2 * n), weights: slice(inputs.weights, n) };
    }
    let references = slice(inputs.reference, sizes.b * sizes.q * sizes.levels.len() * size);
    let stored = |pointer, len| {
        if inputs.points_dtype == inputs.dtype {
            Stored::Element(slice(pointer, len))
        } else {
            Stored::Real(slice(pointer, len))
        }
    };
    Points::Offset { references, size, offsets: stored(inputs.points, 2 * n), logits: stored(inputs.weights, n) }
}

unsafe fn forward_raw<E: Element>(shape: &DeformAttnShape, inputs: &DeformAttnInputs, out: *mut c_void, threads: i32) {
    let sizes = sizes(shape);
    if sizes.items() * sizes.d * sizes.points() == 0 {
        if !out.is_null() {
            std::ptr::write_bytes(out.cast::<E>(), 0, sizes.items() * sizes.d);
        }
        return;
    }
    let value = slice::<E>(inputs.value, sizes.b * sizes.s * sizes.m * sizes.d);
    let out = std::slice::from_raw_parts_mut(out.cast::<E>(), sizes.items() * sizes.d);
    forward(&sizes, value, &points(&sizes, inputs), out, threads.max(1) as usize);
}

unsafe fn backward_raw<E: Element>(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    grad_out: *const c_void,
    grads: &DeformAttnGradients,
    threads: i32,
) {
    let sizes = sizes(shape);
    let numbers = sizes.b * sizes.s * sizes.m * sizes.d;
    if sizes.items() * sizes.points() == 0 {
        if !grads.value.is_null() {
            std::ptr::write_bytes(grads.value.cast::<E>(), 0, numbers);
        }
        return;
    }
    let value = slice::<E>(inputs.value, numbers);
    let grad_out = slice::<E>(grad_out, sizes.items() * sizes.d);
    let grads = Gradients { value: grads.value.cast(), points: grads.points.cast(), weights: grads.weights.cast() };
    backward(&sizes, value, &points(&sizes, inputs), grad_out, &grads, threads.max(1) as usize);
}

/// # Safety
/// As declared in `cuda/deform_attn.h`: contiguous tensors of the sizes in `shape`.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cpu_forward(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    out: *mut c_void,
    threads: i32,
) -> i32 {
    status(|| {
        dispatch!(inputs.dtype, forward_raw(shape, inputs, out, threads));
        Ok(())
    })
}

/// # Safety
/// As declared in `cuda/deform_attn.h`: contiguous tensors of the sizes in `shape`, or null gradients.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cpu_backward(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    grad_out: *const c_void,
    grads: &DeformAttnGradients,
    threads: i32,
) -> i32 {
    status(|| {
        dispatch!(inputs.dtype, backward_raw(shape, inputs, grad_out, grads, threads));
        Ok(())
    })
}

unsafe fn dropout_raw<E: Element>(
    count: i64,
    p: f64,
    seed: i64,
    relu: bool,
    pointers: (*const c_void, *mut c_void),
    threads: i32,
) {
    if count == 0 {
        return;
    }
    let to = std::slice::from_raw_parts_mut(pointers.1.cast::<E>(), count as usize);
    dropout_cpu(slice::<E>(pointers.0, count as usize), to, p, seed as u64, relu, threads.max(1) as usize);
}

/// # Safety
/// As declared in `cuda/deform_attn.h`: `count` numbers at both pointers.
#[no_mangle]
unsafe extern "C" fn dsct_dropout_cpu(
    dtype: i32,
    count: i64,
    p: f64,
    seed: i64,
    relu: bool,
    from: *const c_void,
    to: *mut c_void,
    threads: i32,
) -> i32 {
    status(|| {
        dispatch!(dtype, dropout_raw(count, p, seed, relu, (from, to), threads));
        Ok(())
    })
}
