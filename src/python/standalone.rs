//! The whole model as Rust programs run it, so that Python can compare it with its own.

use pyo3::prelude::*;

use super::gateway::run;
use super::tensor::{optional, PyTensor};
use crate::checkpoint::{Checkpoint, Preprocess};
use crate::photo;

/// Logits, boxes, and the two of every earlier decoder layer.
type Outputs = (PyTensor, PyTensor, Vec<(PyTensor, PyTensor)>);

#[pyfunction]
fn standalone_model(py: Python<'_>, path: String, images: PyTensor, mask: Option<PyTensor>) -> PyResult<Outputs> {
    let mask = optional(mask);
    let output = run(py, move || tch::no_grad(|| Checkpoint::read(path)?.model()?.forward(&images.0, mask.as_ref())))?;
    let earlier = output.aux_outputs.into_iter().map(|(logits, boxes)| (PyTensor(logits), PyTensor(boxes)));
    Ok((PyTensor(output.pred_logits), PyTensor(output.pred_boxes), earlier.collect()))
}

#[pyfunction]
fn standalone_photo(py: Python<'_>, path: String, short_side: Option<i64>, long_side: i64) -> PyResult<PyTensor> {
    let rule = Preprocess { short_side, long_side };
    Ok(PyTensor(run(py, move || photo::prepare(photo::read(path)?.view(), rule))?))
}

/// Adds the functions to `_dsct`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(standalone_model, module)?)?;
    module.add_function(wrap_pyfunction!(standalone_photo, module)?)
}
