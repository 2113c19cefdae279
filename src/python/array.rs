//! `numpy.ndarray` -> `ndarray::ArrayView`, nothing copied. The way back is numpy's `IntoPyArray`, which moves.

use ndarray::Dimension;
use numpy::{Element, PyArray, PyArrayMethods, PyReadonlyArray, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::Error;

/// The array in `object`, of the dtype `T` and the dimensions that `shape` names, such as "(K, C)"; any strides will do.
///
/// The view that is taken from it must be read with bounds in mind only: without the GIL, Python may write meanwhile.
pub fn readonly<'py, T: Element, D: Dimension>(
    op: &'static str,
    argument: &str,
    shape: &str,
    object: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    let refuse = |got: String| -> PyErr {
        let dtype = T::get_dtype(object.py());
        Error::Type(format!("{op}: {argument} must be a NumPy array of {dtype}, got {got}")).into()
    };
    let Ok(untyped) = object.cast::<PyUntypedArray>() else {
        return Err(refuse(object.get_type().name()?.to_string()));
    };
    if D::NDIM.is_some_and(|dims| dims != untyped.ndim()) {
        return Err(Error::argument(op, argument, shape, untyped.shape()).into());
    }
    let array = object.cast::<PyArray<T, D>>().map_err(|_| refuse(untyped.dtype().to_string()))?;
    // A field of packed records: its strides are no multiple of a number's size.
    if !(untyped.is_aligned() && array.data().is_aligned()) {
        return Err(refuse("one that is not aligned".to_owned()));
    }
    Ok(array.try_readonly()?)
}
