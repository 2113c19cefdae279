//! Evaluation.

use pyo3::prelude::*;
use pyo3::types::PyModule;
use tch::{Kind, Tensor};

use super::gateway::run;
use super::tensor::PyTensor;
use crate::average_precision::{average_precision as weighted, Candidates};
use crate::{Error, Result};

/// Adds the functions of this file to `module`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(average_precision, module)?)
}

/// `scores` and `positive` (C, K), `sample` (K,), `weights` (R, I), `num_positive` (R, C) -> (R, C) float64.
#[pyfunction]
fn average_precision(
    py: Python<'_>,
    scores: PyTensor,
    positive: PyTensor,
    sample: PyTensor,
    weights: PyTensor,
    num_positive: PyTensor,
) -> PyResult<PyTensor> {
    run(py, move || {
        for (name, tensor, dims) in [
            ("scores", &scores.0, 2),
            ("positive", &positive.0, 2),
            ("sample", &sample.0, 1),
            ("weights", &weights.0, 2),
            ("num_positive", &num_positive.0, 2),
        ] {
            if tensor.dim() != dims {
                let expected = format!("a tensor of {dims} dimensions");
                return Err(Error::argument("average_precision", name, expected, tensor.size()));
            }
        }
        let (classes, samples) = (scores.0.size()[0] as usize, weights.0.size()[1] as usize);
        let (scores, positive) =
            (numbers(&scores.0)?, Vec::<bool>::try_from(&positive.0.f_to_kind(Kind::Bool)?.f_flatten(0, -1)?)?);
        let sample = Vec::<i64>::try_from(&sample.0.f_to_kind(Kind::Int64)?)?;
        // A negative number becomes one beyond every sample.
        let sample: Vec<usize> =
            sample.into_iter().map(|sample| usize::try_from(sample).unwrap_or(usize::MAX)).collect();
        let candidates = Candidates { scores: &scores, positive: &positive, sample: &sample };
        let threads = tch::get_num_threads().max(1) as usize;
        let shape = num_positive.0.size();
        let result =
            weighted(candidates, &numbers(&weights.0)?, samples, &numbers(&num_positive.0)?, classes, threads)?;
        Ok(PyTensor(Tensor::f_from_slice(&result)?.f_reshape(shape)?))
    })
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::try_from(&tensor.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?)
}
