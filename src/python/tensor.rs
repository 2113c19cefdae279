//! `torch.Tensor` <-> `tch::Tensor`: same storage, same autograd identity, nothing copied.

use std::ffi::c_void;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use tch::Tensor;

use crate::model::ms_deform_attn::Memory;
use crate::params::TensorMap;

extern "C" {
    fn dsct_tensor_from_impl(tensor_impl: *mut c_void) -> *mut c_void;
    fn dsct_tensor_to_python(tensor: *const c_void) -> *mut pyo3::ffi::PyObject;
}

/// A tensor argument or result.
pub struct PyTensor(pub Tensor);

fn tensor_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "torch", "Tensor")
}

impl<'py> FromPyObject<'_, 'py> for PyTensor {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if !object.is_instance(tensor_class(object.py())?)? {
            return Err(PyTypeError::new_err(format!("expected a torch.Tensor, got {}", object.get_type().name()?)));
        }
        let address: usize = object.getattr(pyo3::intern!(object.py(), "_cdata"))?.extract()?;
        // SAFETY: `_cdata` of a torch.Tensor is the address of its TensorImpl, which `object` keeps alive meanwhile.
        let tensor = unsafe { dsct_tensor_from_impl(address as *mut c_void) };
        if tensor.is_null() {
            return Err(PyRuntimeError::new_err("the tensor has no implementation"));
        }
        // SAFETY: a new at::Tensor whose ownership passes to this Tensor.
        Ok(Self(unsafe { Tensor::from_ptr(tensor.cast()) }))
    }
}

impl<'py> IntoPyObject<'py> for PyTensor {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        // SAFETY: the GIL is held (`py`), the tensor outlives the call, and the result is a new reference or null
        // with an exception set.
        unsafe { Bound::from_owned_ptr_or_err(py, dsct_tensor_to_python(self.0.as_ptr().cast())) }
    }
}

/// Parameters by name, as a block's `nn.Module` hands them over.
pub type PyTensorMap = std::collections::HashMap<String, PyTensor>;

/// Unwraps a [`PyTensorMap`].
pub fn tensor_map(params: PyTensorMap) -> TensorMap {
    params.into_iter().map(|(name, tensor)| (name, tensor.0)).collect()
}

/// (height, width) of each level.
pub type Shapes = Vec<(i64, i64)>;

/// Python's `Memory`, see [`Memory`].
pub struct PyMemory {
    src: Tensor,
    spatial_shapes: Shapes,
    padding_mask: Option<Tensor>,
}

impl PyMemory {
    /// What the blocks take.
    pub fn view(&self) -> Memory<'_> {
        Memory { src: &self.src, spatial_shapes: &self.spatial_shapes, padding_mask: self.padding_mask.as_ref() }
    }
}

impl<'py> FromPyObject<'_, 'py> for PyMemory {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self {
            src: field::<PyTensor>(&object, "src")?.0,
            spatial_shapes: field(&object, "spatial_shapes")?,
            padding_mask: optional(field(&object, "padding_mask")?),
        })
    }
}

/// A field of a Python object; an error of type names it.
fn field<'py, T: FromPyObjectOwned<'py>>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<T> {
    let py = object.py();
    object.getattr(name)?.extract().map_err(Into::into).map_err(|error: PyErr| {
        if error.is_instance_of::<PyTypeError>(py) {
            PyTypeError::new_err(format!("'{name}': {}", error.value(py)))
        } else {
            error
        }
    })
}

/// Unwraps an argument that may be missing.
pub fn optional(tensor: Option<PyTensor>) -> Option<Tensor> {
    tensor.map(|tensor| tensor.0)
}

/// Wraps a vector of results.
pub fn wrap(tensors: Vec<Tensor>) -> Vec<PyTensor> {
    tensors.into_iter().map(PyTensor).collect()
}

/// Unwraps a vector of arguments.
pub fn unwrap(tensors: Vec<PyTensor>) -> Vec<Tensor> {
    tensors.into_iter().map(|tensor| tensor.0).collect()
}
