//! The one error type of the crate. `src/python/error.rs` maps every variant to a Python exception.

use std::fmt;
use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, named so that the caller can mend it.
#[derive(Debug)]
pub enum Error {
    /// An argument has the wrong shape or value: "`op`: `argument` must be `expected`, got `got`".
    Argument {
        /// Function or block that refused the argument.
        op: &'static str,
        /// Name of the argument.
        argument: String,
        /// What would have been right.
        expected: String,
        /// What came.
        got: String,
    },
    /// A configuration field is out of range or unknown.
    Config {
        /// Name of the field.
        field: &'static str,
        /// What would have been right.
        expected: String,
        /// What came.
        got: String,
    },
    /// A value is unusable (levels that do not fit, NaN costs, malformed JSON).
    Value(String),
    /// A tensor has the wrong dtype.
    Type(String),
    /// A parameter is absent; holds its full path.
    MissingParameter(String),
    /// A file cannot be read.
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// There is no kernel for this device or mode.
    NotImplemented(String),
    /// The device has no memory left.
    OutOfMemory(String),
    /// An error of libtorch itself; holds the first line of its message.
    Torch(String),
    /// The CUDA driver or its compiler is missing, or refused.
    Cuda(String),
    /// A panic that was caught at the boundary: a bug in this crate.
    Panic(String),
}

impl Error {
    /// [`Error::Argument`] from anything printable.
    pub fn argument(op: &'static str, argument: &str, expected: impl fmt::Display, got: impl fmt::Debug) -> Self {
        Self::Argument {
            op,
            argument: argument.to_owned(),
            expected: expected.to_string(),
            got: format!("{got:?}").replace('[', "(").replace(']', ")"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { op, argument, expected, got } => {
                write!(f, "{op}: {argument} must be {expected}, got {got}")
            }
            Self::Config { field, expected, got } => write!(f, "DSCTConfig: {field} must be {expected}, got {got}"),
            Self::MissingParameter(path) => write!(f, "parameter '{path}' is missing"),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Panic(text) => write!(f, "internal error (please report it): {text}"),
            Self::Value(text)
            | Self::Type(text)
            | Self::NotImplemented(text)
            | Self::OutOfMemory(text)
            | Self::Cuda(text)
            | Self::Torch(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(feature = "torch")]
impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("Internal torch error: ");
        if first.is_empty() {
            // A Python exception keeps its text to itself; torch's hooks and modes can raise one anywhere.
            let advice = "with activation checkpointing, use torch.utils.checkpoint.set_checkpoint_early_stop(False)";
            Self::Torch(format!("a Python exception was raised by a hook or mode inside a native call ({advice})"))
        } else if first.contains("out of memory") {
            Self::OutOfMemory(first.to_owned())
        } else {
            Self::Torch(first.to_owned())
        }
    }
}

#[cfg(feature = "torch")]
impl From<ndarray::ShapeError> for Error {
    fn from(error: ndarray::ShapeError) -> Self {
        Self::Value(error.to_string())
    }
}
