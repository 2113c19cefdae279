//! Parameters by path. Field names are the checkpoint's, so one set of constructors serves tensors that Python's
//! `nn.Module`s hand over and tensors that are read from a safetensors file.

use std::collections::HashMap;
use std::ops::Div;

use tch::Tensor;

use crate::{Error, Result};

/// Tensors by full name.
pub type TensorMap = HashMap<String, Tensor>;

/// A view of a [`TensorMap`] below a path: `&params / "encoder" / "layers" / 0`.
#[derive(Clone)]
pub struct Params<'a> {
    map: &'a TensorMap,
    prefix: String,
}

impl<'a> Params<'a> {
    /// The root of `map`.
    pub fn new(map: &'a TensorMap) -> Self {
        Self { map, prefix: String::new() }
    }

    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }

    /// The tensor `name` below this path (a shallow clone: same storage, same autograd identity).
    ///
    /// # Errors
    /// [`Error::MissingParameter`] with the full path.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let path = self.path(name);
        match self.map.get(&path) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => Err(Error::MissingParameter(path)),
        }
    }

    /// Whether the tensor `name` exists below this path.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(&self.path(name))
    }

    /// Whether any tensor lives below `name`.
    pub fn has_child(&self, name: &str) -> bool {
        let prefix = self.path(name) + ".";
        self.map.keys().any(|key| key.starts_with(&prefix))
    }
}

impl<'a, T: ToString> Div<T> for &Params<'a> {
    type Output = Params<'a>;
    fn div(self, name: T) -> Params<'a> {
        Params { map: self.map, prefix: self.path(&name.to_string()) }
    }
}

impl<'a, T: ToString> Div<T> for Params<'a> {
    type Output = Params<'a>;
    fn div(self, name: T) -> Params<'a> {
        &self / name
    }
}
