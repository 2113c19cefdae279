//! Matching, losses and post-processing.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyModule;

use super::array::readonly;
use super::config::PyConfig;
use super::gateway::run;
use super::tensor::{unwrap, PyTensor};
use crate::criterion::{self, Predictions, Target, Targets};
use crate::post_process::{Detections, PostProcess};
use crate::{boxes, DsctConfig, Result};

/// Adds the functions of this file to `module`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(box_corners, module)?)?;
    module.add_function(wrap_pyfunction!(generalized_iou, module)?)?;
    module.add_function(wrap_pyfunction!(sigmoid_focal_loss, module)?)?;
    module.add_function(wrap_pyfunction!(box_losses, module)?)?;
    module.add_function(wrap_pyfunction!(linear_assignment, module)?)?;
    module.add_function(wrap_pyfunction!(hungarian_matcher, module)?)?;
    module.add_function(wrap_pyfunction!(set_criterion, module)?)?;
    module.add_function(wrap_pyfunction!(post_process, module)?)
}

#[pyfunction]
fn box_corners(py: Python<'_>, boxes: PyTensor) -> PyResult<PyTensor> {
    run(py, move || boxes::box_corners(&boxes.0).map(PyTensor))
}

#[pyfunction]
fn generalized_iou(py: Python<'_>, a: PyTensor, b: PyTensor) -> PyResult<PyTensor> {
    run(py, move || boxes::generalized_iou(&a.0, &b.0).map(PyTensor))
}

#[pyfunction]
fn sigmoid_focal_loss(
    py: Python<'_>,
    logits: PyTensor,
    targets: PyTensor,
    alpha: f64,
    gamma: f64,
) -> PyResult<PyTensor> {
    run(py, move || criterion::sigmoid_focal_loss(&logits.0, &targets.0, alpha, gamma).map(PyTensor))
}

#[pyfunction]
fn box_losses(py: Python<'_>, predicted: PyTensor, wanted: PyTensor) -> PyResult<(PyTensor, PyTensor)> {
    run(py, move || criterion::box_losses(&predicted.0, &wanted.0).map(|(l1, giou)| (PyTensor(l1), PyTensor(giou))))
}

/// `cost` (R, C) -> rows and columns of the pairs, int64, sorted by row.
#[pyfunction]
fn linear_assignment<'py>(py: Python<'py>, cost: &Bound<'py, PyAny>) -> PyResult<(Indices<'py>, Indices<'py>)> {
    let cost = readonly("linear_assignment", "cost", "(R, C)", cost)?;
    let cost = cost.as_array();
    let (rows, columns): (Vec<i64>, Vec<i64>) = run(py, move || {
        let pairs = criterion::linear_assignment(cost)?;
        Ok(pairs.into_iter().map(|(row, column)| (row as i64, column as i64)).unzip())
    })?;
    Ok((rows.into_pyarray(py), columns.into_pyarray(py)))
}

type Indices<'py> = Bound<'py, PyArray1<i64>>;

/// The batch of a call: outputs of the decoder layers, the last one last, and labels and boxes per image.
fn batch(
    config: &DsctConfig,
    logits: Vec<PyTensor>,
    boxes: Vec<PyTensor>,
    targets: Vec<(PyTensor, PyTensor)>,
) -> Result<(Predictions, Targets)> {
    let predictions = Predictions::stack(config, &unwrap(logits), &unwrap(boxes))?;
    let targets: Vec<Target> =
        targets.into_iter().map(|(labels, boxes)| Target { labels: labels.0, boxes: boxes.0 }).collect();
    let targets = Targets::new(config, &targets, predictions.boxes.device(), predictions.boxes.kind())?;
    Ok((predictions, targets))
}

/// Per layer and image the matched (queries, subjects), int64 on the device of the outputs.
#[pyfunction]
fn hungarian_matcher(
    py: Python<'_>,
    config: &PyConfig,
    logits: Vec<PyTensor>,
    boxes: Vec<PyTensor>,
    targets: Vec<(PyTensor, PyTensor)>,
) -> PyResult<Vec<(PyTensor, PyTensor)>> {
    let config = config.0.clone();
    run(py, move || {
        let (predictions, targets) = batch(&config, logits, boxes, targets)?;
        let matching = criterion::hungarian_matcher(&config, &predictions, &targets)?;
        let pairs = matching.tensors(predictions.boxes.device())?;
        Ok(pairs.into_iter().map(|(queries, subjects)| (PyTensor(queries), PyTensor(subjects))).collect())
    })
}

/// (class, bbox, giou) losses, each (L,), the last decoder layer last.
#[pyfunction]
#[pyo3(signature = (config, logits, boxes, targets, num_boxes, class_weights))]
fn set_criterion(
    py: Python<'_>,
    config: &PyConfig,
    logits: Vec<PyTensor>,
    boxes: Vec<PyTensor>,
    targets: Vec<(PyTensor, PyTensor)>,
    num_boxes: f64,
    class_weights: Option<PyTensor>,
) -> PyResult<(PyTensor, PyTensor, PyTensor)> {
    let config = config.0.clone();
    run(py, move || {
        let (predictions, targets) = batch(&config, logits, boxes, targets)?;
        let losses =
            criterion::set_criterion(&config, &predictions, &targets, num_boxes, class_weights.as_ref().map(|w| &w.0))?;
        Ok((PyTensor(losses.class), PyTensor(losses.bbox), PyTensor(losses.giou)))
    })
}

/// Per image boxes, scores, probabilities, labels and queries.
type People = (PyTensor, PyTensor, PyTensor, PyTensor, PyTensor);

#[pyfunction]
#[pyo3(signature = (config, logits, boxes, target_sizes, threshold, nms_iou, score_threshold))]
#[allow(clippy::too_many_arguments)] // Python passes the three options by keyword.
fn post_process(
    py: Python<'_>,
    config: &PyConfig,
    logits: PyTensor,
    boxes: PyTensor,
    target_sizes: PyTensor,
    threshold: Vec<f64>,
    nms_iou: Option<f64>,
    score_threshold: Option<f64>,
) -> PyResult<Vec<People>> {
    let config = config.0.clone();
    let options = PostProcess { threshold, nms_iou, score_threshold };
    run(py, move || {
        let images = options.run(&config, &logits.0, &boxes.0, &target_sizes.0)?;
        let people = |Detections { boxes, scores, probabilities, labels, queries }: Detections| {
            (PyTensor(boxes), PyTensor(scores), PyTensor(probabilities), PyTensor(labels), PyTensor(queries))
        };
        Ok(images.into_iter().map(people).collect())
    })
}
