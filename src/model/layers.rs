//! The small layers that every block is made of, bound to tensors by path. Each equals its `torch.nn` namesake.

use tch::Tensor;

use crate::{ops, Params, Result};

/// y = x Wᵀ + b.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Binds `weight` (out, in) and `bias` (out).
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params) -> Result<Self> {
        Ok(Self { weight: params.get("weight")?, bias: params.get("bias")? })
    }

    /// Width of the input.
    pub fn inputs(&self) -> i64 {
        self.weight.size()[1]
    }

    /// Width of the output.
    pub fn outputs(&self) -> i64 {
        self.weight.size()[0]
    }

    /// (…, in) -> (…, out).
    ///
    /// # Errors
    /// Torch's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Layer normalisation over the last dimension, eps 1e-5.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Binds `weight` and `bias` (E).
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params) -> Result<Self> {
        Ok(Self { weight: params.get("weight")?, bias: params.get("bias")? })
    }

    /// (…, E) -> (…, E).
    ///
    /// # Errors
    /// Torch's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), 1e-5, true)?)
    }
}

/// 2-D convolution without dilation or groups.
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// Binds `weight` (out, in, k, k) and, where there is one, `bias` (out).
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params, stride: i64, padding: i64) -> Result<Self> {
        let bias = if params.has("bias") { Some(params.get("bias")?) } else { None };
        Ok(Self { weight: params.get("weight")?, bias, stride, padding })
    }

    /// (B, in, H, W) -> (B, out, H', W').
    ///
    /// # Errors
    /// Torch's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight, self.bias.as_ref(), stride, padding, [1, 1], 1)?)
    }
}

/// Group normalisation, eps 1e-5.
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    /// Binds `weight` and `bias` (C).
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params, groups: i64) -> Result<Self> {
        Ok(Self { weight: params.get("weight")?, bias: params.get("bias")?, groups })
    }

    /// (B, C, H, W) -> (B, C, H, W).
    ///
    /// # Errors
    /// Torch's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), 1e-5, true)?)
    }
}

/// Dropout probability and whether it is on: on in `train()`, off in `eval()`. Draws from torch's global generator.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of a zero.
    pub p: f64,
    /// Whether the model trains.
    pub train: bool,
}

impl Dropout {
    /// Same shape as `x`.
    ///
    /// # Errors
    /// Torch's.
    pub fn forward(self, x: Tensor) -> Result<Tensor> {
        if self.train && self.p > 0.0 {
            ops::dropout(&x, self.p, false)
        } else {
            Ok(x)
        }
    }

    /// Relu, then dropout. `fresh` as in [`add_to`].
    ///
    /// # Errors
    /// Torch's.
    pub fn after_relu(self, mut fresh: Tensor) -> Result<Tensor> {
        if self.train && self.p > 0.0 {
            ops::dropout(&fresh, self.p, true)
        } else if fresh.requires_grad() {
            Ok(fresh.f_relu()?)
        } else {
            Ok(fresh.f_relu_()?)
        }
    }
}

/// `fresh + x`, in place where nobody needs a gradient and the dtypes allow it. `fresh` is a tensor that the caller owns.
/// With a gradient it would be no gain: the output of a linear layer is a view, and a change in place of a view costs
/// autograd two copies.
///
/// # Errors
/// Torch's.
pub fn add_to(mut fresh: Tensor, x: &Tensor) -> Result<Tensor> {
    if !fresh.requires_grad() && !x.requires_grad() && fresh.kind() == x.kind() && fresh.size() == x.size() {
        Ok(fresh.f_add_(x)?)
    } else {
        Ok(x.f_add(&fresh)?)
    }
}
