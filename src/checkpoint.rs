//! Reads dsct's weights files: safetensors with the configuration as JSON in the metadata.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use tch::Tensor;

use crate::params::TensorMap;
use crate::{Dsct, DsctConfig, Error, Params, Result};

/// A weights file in memory.
pub struct Checkpoint {
    /// The configuration that the weights were trained with.
    pub config: DsctConfig,
    /// How images are to be resized; absent in files that do not say.
    pub preprocess: Option<Preprocess>,
    /// Parameters and buffers under the released checkpoints' names.
    pub tensors: TensorMap,
}

/// Evaluation resize: the short side to `short_side`, unless the long side would exceed `long_side`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub struct Preprocess {
    /// Pixels; `None` keeps the size of the image.
    pub short_side: Option<i64>,
    /// Pixels.
    pub long_side: i64,
}

impl Default for Preprocess {
    fn default() -> Self {
        Self { short_side: Some(800), long_side: 1333 }
    }
}

impl Checkpoint {
    /// Reads `path`.
    ///
    /// # Errors
    /// The file cannot be read, is no safetensors file, or holds no valid `dsct_config`.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let metadata = read_metadata(path)?;
        let text = |key: &str| metadata.get(key).and_then(|value| value.as_str());
        let broken = |what: &str| Error::Value(format!("{}: {what}", path.display()));
        let config = text("dsct_config").ok_or_else(|| broken("the metadata has no 'dsct_config': not a dsct file"))?;
        let preprocess = match text("dsct_preprocess") {
            Some(json) => Some(serde_json::from_str(json).map_err(|e| broken(&format!("dsct_preprocess: {e}")))?),
            None => None,
        };
        let tensors = Tensor::read_safetensors(path)?.into_iter().collect();
        Ok(Self { config: DsctConfig::from_json(config)?, preprocess, tensors })
    }

    /// The model bound to these weights.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn model(&self) -> Result<Dsct> {
        Dsct::new(self.config.clone(), &Params::new(&self.tensors))
    }
}

/// `__metadata__` of the header: 8 bytes of length, then that much JSON.
fn read_metadata(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let broken = || Error::Value(format!("{}: not a safetensors file", path.display()));
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| broken())?;
    let length = u64::from_le_bytes(length);
    if length > size.saturating_sub(8) {
        return Err(broken());
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: serde_json::Value = serde_json::from_slice(&header).map_err(|_| broken())?;
    Ok(header.get("__metadata__").and_then(|value| value.as_object()).cloned().unwrap_or_default())
}
