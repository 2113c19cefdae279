//! `dsct._dsct.Config`: the validated configuration that the native functions take.

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::DsctConfig;

/// Immutable; made by `DSCTConfig` from its JSON form, pickled and copied through it.
#[pyclass(frozen, eq, skip_from_py_object, module = "dsct._dsct", name = "Config")]
#[derive(Clone, PartialEq)]
pub struct PyConfig(pub Arc<DsctConfig>);

#[pymethods]
impl PyConfig {
    #[new]
    fn new(json: &str) -> PyResult<Self> {
        Ok(Self(Arc::new(DsctConfig::from_json(json)?)))
    }

    /// The JSON form of the preset `name`.
    #[staticmethod]
    fn preset(name: &str) -> PyResult<String> {
        Ok(DsctConfig::preset(name)?.to_json())
    }

    /// The fields that take one of a few words, and these words.
    #[staticmethod]
    fn choices() -> BTreeMap<&'static str, Vec<String>> {
        DsctConfig::choices().into()
    }

    fn to_json(&self) -> String {
        self.0.to_json()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = PyTuple::new(slf.py(), [slf.get().to_json()])?;
        Ok((slf.get_type().into_any(), arguments))
    }
}
