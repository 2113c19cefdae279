//! What Rust and C++ share, as declared in `cuda/registration/deform_attn.h`: plain structs, codes of dtypes, and the
//! status that every entry point returns. No panic crosses; a failed call returns a status and keeps a text.

use std::cell::RefCell;
use std::ffi::{c_char, c_void, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null;

/// Codes of dtypes (`DsctDType`).
pub(super) const FLOAT32: i32 = 0;
pub(super) const FLOAT16: i32 = 1;
pub(super) const BFLOAT16: i32 = 2;
pub(super) const FLOAT64: i32 = 3;

/// Every dtype that there are kernels for, under torch's name, with its code.
pub const DTYPE_CODES: [(&str, i32); 4] =
    [("float32", FLOAT32), ("float16", FLOAT16), ("bfloat16", BFLOAT16), ("float64", FLOAT64)];

/// The code of the type that a dtype is computed in.
pub(super) fn arithmetic(dtype: i32) -> i32 {
    if dtype == FLOAT64 {
        FLOAT64
    } else {
        FLOAT32
    }
}

/// Sizes of one call (`DsctDeformAttnShape`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug)]
pub(super) struct DeformAttnGradients {
    pub(super) value: *mut c_void,
    pub(super) points: *mut c_void,
    pub(super) weights: *mut c_void,
}

impl DeformAttnInputs {
    /// No tensors: enough for plans.
    pub(super) const NONE: Self = Self {
        dtype: FLOAT32,
        points_dtype: FLOAT32,
        reference_size: 0,
        value: null(),
        reference: null(),
        points: null(),
        weights: null(),
    };
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
pub(super) fn checked_count(name: &str, dims: &[i64]) -> Result<usize, String> {
    let refused = || format!("{name} of sizes {dims:?} does not fit into memory");
    let times = |product: i64, &size: &i64| if size < 0 { None } else { product.checked_mul(size.max(1)) };
    // Eight bytes a number at most.
    dims.iter().try_fold(8, times).ok_or_else(refused)?;
    Ok(dims.iter().product::<i64>() as usize)
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Keeps `text` for `dsct_last_error`, and is the status that says so.
fn failed(text: &str) -> i32 {
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
            $crate::ops::c_abi::FLOAT32 => $f::<f32>($($arg)*),
            $crate::ops::c_abi::FLOAT16 => $f::<half::f16>($($arg)*),
            $crate::ops::c_abi::BFLOAT16 => $f::<half::bf16>($($arg)*),
            $crate::ops::c_abi::FLOAT64 => $f::<f64>($($arg)*),
            other => Err(format!("no dtype has the number {other}")),
        }
    };
}
pub(super) use dispatch;

/// # Safety
/// `pointer` is null or holds `len` numbers.
pub(super) unsafe fn slice<'a, T>(pointer: *const c_void, len: usize) -> &'a [T] {
    // An empty tensor may have a null data pointer, which no slice may have.
    if len == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(pointer.cast(), len)
    }
}
