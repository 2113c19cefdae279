//! Evaluation, on NumPy arrays.

use numpy::{IntoPyArray, PyArray2};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyModule;

use super::array::readonly;
use super::gateway::run;
use crate::average_precision::{average_precision as weighted, Candidates};
use crate::memory;
use crate::post_process::batched_nms;

/// Adds the functions of this file to `module`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(average_precision, module)?)?;
    module.add_function(wrap_pyfunction!(nms, module)?)
}

/// `scores` and `positive` (K, C), `sample` (K,), `weights` (R, I), `num_positive` (R, C) -> (R, C) float64.
#[pyfunction]
fn average_precision<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    positive: &Bound<'py, PyAny>,
    sample: &Bound<'py, PyAny>,
    weights: &Bound<'py, PyAny>,
    num_positive: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let op = "average_precision";
    let (scores, sample) = (readonly(op, "scores", "(K, C)", scores)?, readonly(op, "sample", "(K,)", sample)?);
    let weights = readonly(op, "weights", "(R, I)", weights)?;
    let num_positive = readonly(op, "num_positive", "(R, C)", num_positive)?;
    // A NumPy bool may be any byte, a bool of Rust 0 or 1 only.
    readonly::<bool, ndarray::Ix2>(op, "positive", "(K, C)", positive)?;
    let bytes = positive.call_method1(intern!(py, "view"), (intern!(py, "uint8"),))?;
    let bytes = readonly::<u8, _>(op, "positive", "(K, C)", &bytes)?;

    let (scores, bytes, sample) = (scores.as_array(), bytes.as_array(), sample.as_array());
    let (weights, num_positive) = (weights.as_array(), num_positive.as_array());
    let result = run(py, move || {
        memory::require(op, &[bytes.len()], size_of::<bool>())?;
        let positive = bytes.mapv(|byte| byte != 0);
        let candidates = Candidates { scores: scores.view(), positive: positive.view(), sample: sample.view() };
        weighted(candidates, weights, num_positive, threads())
    })?;
    Ok(result.into_pyarray(py))
}

/// `boxes` (I, N, 4), corners, NaN where there is none, and `scores` (I, N) -> (I, N) bool, which of them are kept.
#[pyfunction]
fn nms<'py>(
    py: Python<'py>,
    boxes: &Bound<'py, PyAny>,
    scores: &Bound<'py, PyAny>,
    iou: f64,
) -> PyResult<Bound<'py, PyArray2<bool>>> {
    let boxes = readonly("nms", "boxes", "(I, N, 4)", boxes)?;
    let scores = readonly("nms", "scores", "(I, N)", scores)?;
    let (boxes, scores) = (boxes.as_array(), scores.as_array());
    let keep = run(py, move || batched_nms(boxes, scores, iou, threads()))?;
    Ok(keep.into_pyarray(py))
}

fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}
