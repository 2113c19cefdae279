//! Reads dsct's weights files: safetensors with the configuration as JSON in the metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::params::TensorMap;
use crate::{Dsct, DsctConfig, Error, Params, Result};

/// Of everything else in the file.
const DIGEST_KEY: &str = "dsct_weights_sha256";

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
    /// The file cannot be read, is no safetensors file, holds no valid `dsct_config`, or its tensors are not finite or
    /// do not have the digest stored with them.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let Header { metadata, tensors: entries, values_at } = read_header(path)?;
        let text = |key: &str| metadata.get(key).and_then(|value| value.as_str());
        let broken = |what: &str| Error::Value(format!("{}: {what}", path.display()));
        let config = text("dsct_config").ok_or_else(|| broken("the metadata has no 'dsct_config': not a dsct file"))?;
        let preprocess = match text("dsct_preprocess") {
            Some(json) => Some(serde_json::from_str(json).map_err(|e| broken(&format!("dsct_preprocess: {e}")))?),
            None => None,
        };
        let tensors: TensorMap = Tensor::read_safetensors(path)?.into_iter().collect();
        if let Some(stored) = text(DIGEST_KEY) {
            if stored != digest(path, &metadata, &entries, values_at)? {
                return Err(broken("damaged or changed: its content does not have the digest stored with it"));
            }
        }
        if let Some(name) = not_finite(&tensors)? {
            return Err(broken(&format!("{name} must be finite, got NaN or infinity")));
        }
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

/// In the order of the keys.
type Metadata = BTreeMap<String, serde_json::Value>;

/// The first 8 bytes are the length of the header, which is JSON; values follow.
struct Header {
    metadata: Metadata,
    tensors: BTreeMap<String, Entry>,
    values_at: usize,
}

/// A tensor in the header.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (usize, usize),
}

fn read_header(path: &Path) -> Result<Header> {
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
    let mut header: serde_json::Map<_, _> = serde_json::from_slice(&header).map_err(|_| broken())?;
    let metadata = match header.remove("__metadata__") {
        Some(serde_json::Value::Object(metadata)) => metadata.into_iter().collect(),
        _ => Metadata::new(),
    };
    let tensors = serde_json::from_value(header.into()).map_err(|_| broken())?;
    Ok(Header { metadata, tensors, values_at: 8 + length as usize })
}

/// SHA-256 of metadata and tensors in the order of their names, as `dsct.checkpoint` writes it.
fn digest(path: &Path, metadata: &Metadata, tensors: &BTreeMap<String, Entry>, values_at: usize) -> Result<String> {
    let content = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut hash = Sha256::new();
    for (key, text) in metadata.iter().filter(|(key, _)| *key != DIGEST_KEY) {
        hash.update(format!("{key}\0{}\0", text.as_str().unwrap_or_default()));
    }
    for (name, Entry { dtype, shape, data_offsets: (begin, end) }) in tensors {
        let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
        hash.update(format!("{name}\0{dtype}\0{}\0", shape.join(",")));
        hash.update(content.get(values_at + begin..values_at + end).unwrap_or_default());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A tensor with NaN or infinity, if there is one.
fn not_finite(tensors: &TensorMap) -> Result<Option<&str>> {
    for (name, tensor) in tensors {
        if tensor.is_floating_point() && !bool::try_from(tensor.f_isfinite()?.f_all()?)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
