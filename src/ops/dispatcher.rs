//! Calls through torch's dispatcher, where C++ registers the operators: autograd, autocast, tracing and every device
//! apply to callers in Rust as to callers in Python.

use std::ffi::{c_char, c_void, CStr};

use tch::Tensor;

use crate::{Error, Result};

/// Why a call failed (`DsctFailure`).
#[repr(C)]
pub(super) struct Failure {
    message: *mut c_char,
    kind: i32,
}

extern "C" {
    fn free(pointer: *mut c_void);
}

pub(super) fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

/// The tensor that `operator` makes, or what it says in its place.
pub(super) fn call(operator: impl FnOnce(*mut Failure) -> *mut c_void) -> Result<Tensor> {
    let mut failure = Failure { message: std::ptr::null_mut(), kind: 0 };
    let result = operator(&mut failure);
    if !result.is_null() {
        // SAFETY: a new at::Tensor whose ownership passes to this Tensor.
        return Ok(unsafe { Tensor::from_ptr(result.cast()) });
    }
    // SAFETY: on failure `message` is a C string made by strdup.
    let text = unsafe {
        let text = CStr::from_ptr(failure.message).to_string_lossy().into_owned();
        free(failure.message.cast());
        text
    };
    Err(match failure.kind {
        1 => Error::Value(text),
        2 => Error::Type(text),
        3 => Error::NotImplemented(text),
        4 => Error::OutOfMemory(text),
        _ => Error::Torch(text.lines().next().unwrap_or_default().to_owned()),
    })
}
