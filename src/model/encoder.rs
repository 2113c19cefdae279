//! Deformable encoder layer: every cell of every level attends to points around itself in all levels
//! (Deformable DETR, section 4.1). Post-norm, ReLU.

use tch::Tensor;

use super::layers::{add_to, Dropout, LayerNorm, Linear};
use super::ms_deform_attn::{Memory, MsDeformAttn};
use super::{check_batch, check_shape};
use crate::{DsctConfig, Params, Result};

/// `transformer.encoder.layers.i.{self_attn, norm1, linear1, linear2, norm2}`.
pub struct EncoderLayer {
    self_attn: MsDeformAttn,
    norm1: LayerNorm,
    ffn: FeedForward,
    norm2: LayerNorm,
}

impl EncoderLayer {
    /// Binds the layer at `params`.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params, config: &DsctConfig) -> Result<Self> {
        Ok(Self {
            self_attn: MsDeformAttn::new(&(params / "self_attn"), config.nheads, config.enc_n_points)?,
            norm1: LayerNorm::new(&(params / "norm1"))?,
            ffn: FeedForward::new(params)?,
            norm2: LayerNorm::new(&(params / "norm2"))?,
        })
    }

    /// The memory that the next layer sees, (B, S, E). `pos` (B or 1, S, E), `reference_points` (B or 1, S, L, 2).
    ///
    /// # Errors
    /// Shapes that do not fit, by name.
    pub fn forward(
        &self,
        memory: &Memory,
        pos: Option<&Tensor>,
        reference_points: &Tensor,
        dropout: Dropout,
    ) -> Result<Tensor> {
        let query = with_position("encoder", memory.src, pos)?;
        let attended = self.self_attn.forward(&query, reference_points, memory)?;
        let src = self.norm1.forward(&add_to(dropout.forward(attended)?, memory.src)?)?;
        self.norm2.forward(&add_to(self.ffn.forward(&src, dropout)?, &src)?)
    }
}

/// `x + pos`, or `x`: positions go to queries and keys, never to values.
pub(super) fn with_position(op: &'static str, x: &Tensor, pos: Option<&Tensor>) -> Result<Tensor> {
    let Some(pos) = pos else { return Ok(x.shallow_clone()) };
    check_shape(op, "the queries", x, "(B, Q, E)", &[-1, -1, -1])?;
    let (batch, rows, channels) = x.size3()?;
    check_shape(op, "position encoding", pos, "(B, Q, E)", &[-1, rows, channels])?;
    check_batch(op, "position encoding", pos, batch)?;
    Ok(x.f_add(pos)?)
}

/// linear2(dropout(relu(linear1(x)))), then dropout; without the residual.
pub(super) struct FeedForward {
    linear1: Linear,
    linear2: Linear,
}

impl FeedForward {
    pub(super) fn new(params: &Params) -> Result<Self> {
        Ok(Self { linear1: Linear::new(&(params / "linear1"))?, linear2: Linear::new(&(params / "linear2"))? })
    }

    pub(super) fn forward(&self, x: &Tensor, dropout: Dropout) -> Result<Tensor> {
        let hidden = dropout.after_relu(self.linear1.forward(x)?)?;
        dropout.forward(self.linear2.forward(&hidden)?)
    }
}
