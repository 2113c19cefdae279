//! One exhaustive map from [`Error`] to Python exceptions.

use pyo3::exceptions::{PyKeyError, PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::Error;

pyo3::create_exception!(
    dsct,
    DsctError,
    PyRuntimeError,
    "An error of libtorch, or a bug, that reached dsct's native code."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Argument { .. } | Error::Config { .. } | Error::Value(_) => PyValueError::new_err(text),
            Error::Type(_) => PyTypeError::new_err(text),
            Error::MissingParameter(_) => PyKeyError::new_err(text),
            Error::Io { source, path } => {
                std::io::Error::new(source.kind(), format!("{}: {source}", path.display())).into()
            }
            Error::NotImplemented(_) => PyNotImplementedError::new_err(text),
            Error::OutOfMemory(_) => out_of_memory(text),
            Error::Torch(_) | Error::Cuda(_) | Error::Panic(_) => DsctError::new_err(text),
        }
    }
}

/// torch's own exception, so that `except torch.OutOfMemoryError` keeps working.
fn out_of_memory(text: String) -> PyErr {
    Python::attach(|py| match py.import("torch").and_then(|torch| torch.getattr("OutOfMemoryError")) {
        Ok(class) => match class.call1((&text,)) {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        },
        Err(_) => DsctError::new_err(text),
    })
}
