//! One native call per block of the model. The block's `nn.Module` hands over its current tensors.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::config::PyConfig;
use super::gateway::run;
use super::tensor::{optional, tensor_map, unwrap, wrap, PyMemory, PyTensor, PyTensorMap, Shapes};
use crate::model::backbone::Backbone;
use crate::model::decoder::{self, DecoderLayer, LayerTrace};
use crate::model::encoder::EncoderLayer;
use crate::model::heads::Heads;
use crate::model::input_projection::InputProjection;
use crate::model::layers::Dropout;
use crate::model::ms_deform_attn::{self, MsDeformAttn};
use crate::model::position_encoding::Levels;
use crate::model::relational_aggregation::SpatialRelation;
use crate::Params;

#[pyfunction]
fn backbone(py: Python<'_>, name: &str, params: PyTensorMap, images: PyTensor) -> PyResult<Vec<PyTensor>> {
    let params = tensor_map(params);
    let maps = run(py, move || Backbone::new(name, &Params::new(&params))?.forward(&images.0))?;
    Ok(wrap(maps.into()))
}

#[pyfunction]
fn input_projection(
    py: Python<'_>,
    levels: usize,
    params: PyTensorMap,
    features: Vec<PyTensor>,
) -> PyResult<Vec<PyTensor>> {
    let (params, features) = (tensor_map(params), unwrap(features));
    let maps =
        run(py, move || InputProjection::new(&Params::new(&params), levels, features.len())?.forward(&features))?;
    Ok(wrap(maps))
}

#[pyfunction]
#[allow(clippy::type_complexity)]
fn flatten_levels(
    py: Python<'_>,
    maps: Vec<PyTensor>,
    mask: Option<PyTensor>,
    level_embed: PyTensor,
) -> PyResult<(PyTensor, PyTensor, Option<PyTensor>, Shapes, PyTensor)> {
    let (maps, mask) = (unwrap(maps), optional(mask));
    let levels = run(py, move || Levels::new(&maps, mask.as_ref(), &level_embed.0))?;
    let Levels { src, pos, padding_mask, spatial_shapes, valid_ratios } = levels;
    Ok((PyTensor(src), PyTensor(pos), padding_mask.map(PyTensor), spatial_shapes, PyTensor(valid_ratios)))
}

#[pyfunction]
fn encoder_reference_points(py: Python<'_>, spatial_shapes: Shapes, valid_ratios: PyTensor) -> PyResult<PyTensor> {
    let points = run(py, move || ms_deform_attn::encoder_reference_points(&spatial_shapes, &valid_ratios.0))?;
    Ok(PyTensor(points))
}

#[pyfunction]
fn ms_deform_attn_module(
    py: Python<'_>,
    heads: i64,
    points: i64,
    params: PyTensorMap,
    query: PyTensor,
    reference_points: PyTensor,
    memory: PyMemory,
) -> PyResult<PyTensor> {
    let params = tensor_map(params);
    let output = run(py, move || {
        let module = MsDeformAttn::new(&Params::new(&params), heads, points)?;
        module.forward(&query.0, &reference_points.0, &memory.view())
    })?;
    Ok(PyTensor(output))
}

#[pyfunction]
fn encoder_layer(
    py: Python<'_>,
    config: &Bound<'_, PyConfig>,
    params: PyTensorMap,
    train: bool,
    memory: PyMemory,
    pos: Option<PyTensor>,
    reference_points: PyTensor,
) -> PyResult<PyTensor> {
    let config = config.get().0.clone();
    let (params, pos) = (tensor_map(params), optional(pos));
    let dropout = Dropout { p: config.dropout, train };
    let out = run(py, move || {
        let layer = EncoderLayer::new(&Params::new(&params), &config)?;
        layer.forward(&memory.view(), pos.as_ref(), &reference_points.0, dropout)
    })?;
    Ok(PyTensor(out))
}

#[pyfunction]
fn reference_points(py: Python<'_>, params: PyTensorMap, query_pos: PyTensor) -> PyResult<PyTensor> {
    let params = tensor_map(params);
    Ok(PyTensor(run(py, move || decoder::reference_points(&Params::new(&params), &query_pos.0))?))
}

/// (distance, spatial_indices or None)
#[pyfunction]
fn spatial_relation(
    py: Python<'_>,
    config: &Bound<'_, PyConfig>,
    reference_points: PyTensor,
    valid_ratios: PyTensor,
) -> PyResult<(PyTensor, Option<PyTensor>)> {
    let config = config.get().0.clone();
    let relation = run(py, move || SpatialRelation::new(&config, &reference_points.0, &valid_ratios.0))?;
    Ok((PyTensor(relation.distance), relation.indices.map(PyTensor)))
}

/// (tgt, trace)
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn decoder_layer<'py>(
    py: Python<'py>,
    config: &Bound<'py, PyConfig>,
    layer: usize,
    params: PyTensorMap,
    train: bool,
    tgt: PyTensor,
    query_pos: Option<PyTensor>,
    reference_points: PyTensor,
    memory: PyMemory,
    spatial: (PyTensor, Option<PyTensor>),
    return_trace: bool,
) -> PyResult<(PyTensor, Bound<'py, PyDict>)> {
    let config = config.get().0.clone();
    let (params, query_pos) = (tensor_map(params), optional(query_pos));
    let dropout = Dropout { p: config.dropout, train };
    let (out, trace) = run(py, move || {
        let relation = SpatialRelation { distance: spatial.0 .0, indices: optional(spatial.1) };
        let layer = DecoderLayer::new(&Params::new(&params), &config, layer)?;
        let (pos, points, memory) = (query_pos.as_ref(), &reference_points.0, &memory.view());
        layer.forward(&config, &tgt.0, pos, points, memory, &relation, dropout, return_trace)
    })?;
    Ok((PyTensor(out), trace_dict(py, trace)?))
}

fn trace_dict(py: Python<'_>, trace: LayerTrace) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("sampling_locations", trace.sampling_locations.map(PyTensor))?;
    dict.set_item("attention_weights", trace.attention_weights.map(PyTensor))?;
    dict.set_item("spatial_indices", trace.spatial_indices.map(PyTensor))?;
    dict.set_item("semantic_indices", trace.semantic_indices.map(PyTensor))?;
    dict.set_item("context_weights", trace.context_weights.map(PyTensor))?;
    Ok(dict)
}

/// (logits, boxes)
#[pyfunction]
fn heads(
    py: Python<'_>,
    params: PyTensorMap,
    subject: PyTensor,
    reference_points: PyTensor,
) -> PyResult<(PyTensor, PyTensor)> {
    let params = tensor_map(params);
    let (logits, boxes) = run(py, move || {
        let root = Params::new(&params);
        Heads::new(&(&root / "class_embed"), &(&root / "bbox_embed"))?.forward(&subject.0, &reference_points.0)
    })?;
    Ok((PyTensor(logits), PyTensor(boxes)))
}

/// Adds the functions of this file to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(backbone, module)?)?;
    module.add_function(wrap_pyfunction!(input_projection, module)?)?;
    module.add_function(wrap_pyfunction!(flatten_levels, module)?)?;
    module.add_function(wrap_pyfunction!(encoder_reference_points, module)?)?;
    module.add_function(wrap_pyfunction!(ms_deform_attn_module, module)?)?;
    module.add_function(wrap_pyfunction!(encoder_layer, module)?)?;
    module.add_function(wrap_pyfunction!(reference_points, module)?)?;
    module.add_function(wrap_pyfunction!(spatial_relation, module)?)?;
    module.add_function(wrap_pyfunction!(decoder_layer, module)?)?;
    module.add_function(wrap_pyfunction!(heads, module)?)
}
