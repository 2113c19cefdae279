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
        let numbers: &[i64] = slice(self.spatial_shapes.cast(), 2 * self.l as usize);
        numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// How many numbers `dims` hold; refused where they would not fit into memory, so that no product of some of them wraps.
fn checked_count(name: &str, dims: &[i64]) -> Result<usize, String> {
    let refused = || format!("{name} of sizes {dims:?} does not fit into memory");
    let times = |product: i64, &size: &i64| if size < 0 { None } else { product.checked_mul(size.max(1)) };
    // Eight bytes a number at most.
    dims.iter().try_fold(8, times).ok_or_else(refused)?;
    Ok(dims.iter().product::<i64>() as usize)
}

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
            3 => $f::<f64>($($arg)*),
            other => Err(format!("no dtype has the number {other}")),
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

unsafe fn points<'a, E: Element>(sizes: &Sizes, inputs: &DeformAttnInputs) -> Result<Points<'a, E>, String> {
    let n = sizes.items() * sizes.points();
    let size = inputs.reference_size as usize;
    let low = inputs.points_dtype == inputs.dtype;
    let arithmetic = if inputs.dtype == 3 { 3 } else { 0 };
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
/// As declared in `cuda/deform_attn.h`: contiguous tensors of the sizes in `shape`.
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
/// As declared in `cuda/deform_attn.h`: contiguous tensors of the sizes in `shape`, or null gradients.
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

unsafe fn dropout_raw<E: Element>(
    count: i64,
    p: f64,
    seed: i64,
    relu: bool,
    pointers: (*const c_void, *mut c_void),
    threads: i32,
) -> Result<(), String> {
    let count = checked_count("input", &[count])?;
    if !(0.0..1.0).contains(&p) {
        return Err(format!("p must be in [0, 1), got {p}"));
    }
    if count > 0 {
        let to = std::slice::from_raw_parts_mut(pointers.1.cast::<E>(), count);
        dropout_cpu(slice::<E>(pointers.0, count), to, p, seed as u64, relu, threads.max(1) as usize);
    }
    Ok(())
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
    status(|| dispatch!(dtype, dropout_raw(count, p, seed, relu, (from, to), threads)))
}
