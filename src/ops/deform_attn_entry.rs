//! C entry points of the CPU kernels, as declared in `cuda/deform_attn.h`: raw pointers to slices, dtype codes to types.
//! No panic crosses; a failed call returns a status and keeps a text.

use std::cell::RefCell;
use std::ffi::{c_char, c_void, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

use half::{bf16, f16};

use super::deform_attn_cpu::{backward, forward, Element, Gradients, Level, Sizes};

/// Sizes of one call (`DsctDeformAttnShape`).
#[repr(C)]
#[derive(Clone, Copy)]
struct DeformAttnShape {
    b: i64,
    s: i64,
    m: i64,
    d: i64,
    q: i64,
    l: i64,
    p: i64,
    spatial_shapes: *const i64,
}

/// # Safety
/// `shape.spatial_shapes` holds 2·L numbers that the registration has checked.
unsafe fn sizes(shape: &DeformAttnShape) -> Sizes {
    let pairs = std::slice::from_raw_parts(shape.spatial_shapes, 2 * shape.l as usize);
    let mut start = 0;
    let levels = pairs
        .chunks_exact(2)
        .map(|pair| {
            let level = Level { h: pair[0], w: pair[1], start };
            start += (pair[0] * pair[1]) as usize;
            level
        })
        .collect();
    let [b, s, m, d, q, p] = [shape.b, shape.s, shape.m, shape.d, shape.q, shape.p].map(|n| n as usize);
    Sizes { b, s, m, d, q, p, levels }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Runs `kernel`; a panic becomes a status and a text, it never crosses into C++.
fn status(kernel: impl FnOnce()) -> i32 {
    let Err(panic) = catch_unwind(AssertUnwindSafe(kernel)) else { return 0 };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    LAST_ERROR.with(|last| *last.borrow_mut() = text);
    1
}

#[no_mangle]
extern "C" fn dsct_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Calls `$f::<E, DIM>` for the dtype code and the common values of D.
macro_rules! dispatch {
    ($dtype:expr, $d:expr, $f:ident ( $($arg:tt)* )) => {
        match $dtype {
            0 => dispatch!(@dim f32, $d, $f($($arg)*)),
            1 => dispatch!(@dim f16, $d, $f($($arg)*)),
            2 => dispatch!(@dim bf16, $d, $f($($arg)*)),
            _ => dispatch!(@dim f64, $d, $f($($arg)*)),
        }
    };
    (@dim $e:ty, $d:expr, $f:ident ( $($arg:tt)* )) => {
        match $d {
            16 => $f::<$e, 16>($($arg)*),
            32 => $f::<$e, 32>($($arg)*),
            64 => $f::<$e, 64>($($arg)*),
            _ => $f::<$e, 0>($($arg)*),
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

unsafe fn forward_raw<E: Element, const DIM: usize>(
    shape: &DeformAttnShape,
    value: *const c_void,
    locations: *const c_void,
    weights: *const c_void,
    out: *mut c_void,
    threads: usize,
) {
    let sizes = sizes(shape);
    let items = sizes.b * sizes.q * sizes.m;
    if items * sizes.d == 0 {
        return;
    }
    let value = slice::<E>(value, sizes.b * sizes.s * sizes.m * sizes.d);
    let locations = slice(locations, items * sizes.points() * 2);
    let weights = slice(weights, items * sizes.points());
    let out = std::slice::from_raw_parts_mut(out.cast::<E>(), items * sizes.d);
    forward::<E, DIM>(&sizes, value, locations, weights, out, threads);
}

#[allow(clippy::too_many_arguments)]
unsafe fn backward_raw<E: Element, const DIM: usize>(
    shape: &DeformAttnShape,
    grad_out: *const c_void,
    value: *const c_void,
    locations: *const c_void,
    weights: *const c_void,
    grads: [*mut c_void; 3],
    threads: usize,
) {
    let sizes = sizes(shape);
    let items = sizes.b * sizes.q * sizes.m;
    let grad_out = slice::<E>(grad_out, items * sizes.d);
    let value = slice::<E>(value, sizes.b * sizes.s * sizes.m * sizes.d);
    let locations = slice(locations, items * sizes.points() * 2);
    let weights = slice(weights, items * sizes.points());
    let [value_grad, locations_grad, weights_grad] = grads.map(|p| p.cast::<E::Real>());
    let grads = Gradients { value: value_grad, locations: locations_grad, weights: weights_grad };
    backward::<E, DIM>(&sizes, grad_out, value, locations, weights, &grads, threads);
}

/// # Safety
/// As declared in `cuda/deform_attn.h`: contiguous tensors of the sizes in `shape`.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cpu_forward(
    dtype: i32,
    shape: &DeformAttnShape,
    value: *const c_void,
    locations: *const c_void,
    weights: *const c_void,
    out: *mut c_void,
    threads: i32,
) -> i32 {
    let threads = threads.max(1) as usize;
    status(|| dispatch!(dtype, shape.d, forward_raw(shape, value, locations, weights, out, threads)))
}

/// # Safety
/// As declared in `cuda/deform_attn.h`: contiguous tensors of the sizes in `shape`, or null gradients.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cpu_backward(
    dtype: i32,
    shape: &DeformAttnShape,
    grad_out: *const c_void,
    value: *const c_void,
    locations: *const c_void,
    weights: *const c_void,
    grad_value: *mut c_void,
    grad_locations: *mut c_void,
    grad_weights: *mut c_void,
    threads: i32,
) -> i32 {
    let threads = threads.max(1) as usize;
    let grads = [grad_value, grad_locations, grad_weights];
    status(|| dispatch!(dtype, shape.d, backward_raw(shape, grad_out, value, locations, weights, grads, threads)))
}
