//! The one way from Python into the mathematics: releases the GIL, catches panics, maps errors.

use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::prelude::*;

use crate::{Error, Result};

/// tch asks torch for a pending error when it drops a scalar argument, so a failed operator with a scalar panics with
/// the error that it would have returned. Such a panic is that error; any other is a bug in this crate.
fn from_panic(text: &str) -> Error {
    match text.split_once("value: Torch(\"") {
        Some((_, message)) => tch::TchError::Torch(message.split("\\n").next().unwrap_or_default().to_owned()).into(),
        None => Error::Panic(text.to_owned()),
    }
}

/// Runs `f` with the GIL released. Torch takes the GIL by itself where Python must see an operator (hooks, modes).
pub fn run<T: Send>(py: Python<'_>, f: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let result = py.detach(|| {
        catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic");
            Err(from_panic(text))
        })
    });
    Ok(result?)
}
