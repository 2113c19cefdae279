//! DSCT decoder layer: decoupled queries attend to each other and to the image, then subjects take in context
//! (DSCT, section 3.2, Fig. 4). Differs from Deformable DETR's layer in the aggregation between cross-attention and
//! feed-forward network only. `norm2` follows self-attention and `norm1` cross-attention, as in the checkpoints.

use tch::Tensor;

use super::encoder::{with_position, FeedForward};
use super::layers::{add_to, Dropout, LayerNorm, Linear};
use super::ms_deform_attn::{Memory, MsDeformAttn};
use super::relational_aggregation::{aggregate, split, SpatialRelation};
use super::{check_shape, coordinate_kind};
use crate::config::Reweighting;
use crate::{DsctConfig, Params, Result};

/// `transformer.decoder.layers.i.{cross_attn, norm1, self_attn, norm2, linear1, linear2, norm3}`, and
/// `context_weights` where the attentive re-weighting fuses.
pub struct DecoderLayer {
    self_attn: MultiheadAttention,
    norm2: LayerNorm,
    cross_attn: MsDeformAttn,
    norm1: LayerNorm,
    fuses: bool,
    context_weights: Option<Linear>,
    ffn: FeedForward,
    norm3: LayerNorm,
}

/// What the layer did, for figures. B, Q, N, K as in the module documentation of `relational_aggregation`.
#[derive(Default)]
pub struct LayerTrace {
    /// (B, Q, M, L, P, 2).
    pub sampling_locations: Option<Tensor>,
    /// (B, Q, M, L, P).
    pub attention_weights: Option<Tensor>,
    /// (B, N, K_sp).
    pub spatial_indices: Option<Tensor>,
    /// (B, N, K_sm).
    pub semantic_indices: Option<Tensor>,
    /// (B, N, K).
    pub context_weights: Option<Tensor>,
}

impl DecoderLayer {
    /// Binds decoder layer number `layer` at `params`.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params, config: &DsctConfig, layer: usize) -> Result<Self> {
        let fuses = config.fuses(layer);
        let attentive = fuses && config.reweighting == Reweighting::Attentive;
        Ok(Self {
            self_attn: MultiheadAttention::new(&(params / "self_attn"), config.nheads)?,
            norm2: LayerNorm::new(&(params / "norm2"))?,
            cross_attn: MsDeformAttn::new(&(params / "cross_attn"), config.nheads, config.dec_n_points)?,
            norm1: LayerNorm::new(&(params / "norm1"))?,
            fuses,
            context_weights: if attentive { Some(Linear::new(&(params / "context_weights"))?) } else { None },
            ffn: FeedForward::new(params)?,
            norm3: LayerNorm::new(&(params / "norm3"))?,
        })
    }

    /// `tgt` and `query_pos` (B, Q, E), `reference_points` (B, Q, L, 2 or 4), `memory` the encoder's output -> (B, Q, E).
    /// `traced` asks for the
    /// sampling points too, which the layer itself never stores.
    ///
    /// # Errors
    /// Shapes that do not fit, by name.
    #[allow(clippy::too_many_arguments)] // the layer's inputs, each a different thing
    pub fn forward(
        &self,
        config: &DsctConfig,
        tgt: &Tensor,
        query_pos: Option<&Tensor>,
        reference_points: &Tensor,
        memory: &Memory,
        spatial: &SpatialRelation,
        dropout: Dropout,
        traced: bool,
    ) -> Result<(Tensor, LayerTrace)> {
        let (_, queries, _) = tgt.size3()?;
        check_shape("decoder", "reference_points", reference_points, "(B, Q, L, 2 or 4)", &[-1, queries, -1, -1])?;

        let query = with_position("decoder", tgt, query_pos)?;
        let attended = self.self_attn.forward(&query, tgt, dropout)?;
        let tgt = self.norm2.forward(&add_to(dropout.forward(attended)?, tgt)?)?;

        let query = with_position("decoder", &tgt, query_pos)?;
        let attended = self.cross_attn.forward(&query, reference_points, memory)?;
        let mut trace = LayerTrace::default();
        if traced {
            let (locations, weights) =
                self.cross_attn.sampling_points(&query, reference_points, memory.spatial_shapes)?;
            (trace.sampling_locations, trace.attention_weights) = (Some(locations), Some(weights));
        }
        let tgt = self.norm1.forward(&add_to(dropout.forward(attended)?, &tgt)?)?;
        let tgt = if self.fuses { self.fuse(config, &tgt, spatial, &mut trace)? } else { tgt };
        let output = self.norm3.forward(&add_to(self.ffn.forward(&tgt, dropout)?, &tgt)?)?;
        Ok((output, trace))
    }

    /// Replaces the subject rows by their fusion with the context rows.
    fn fuse(
        &self,
        config: &DsctConfig,
        tgt: &Tensor,
        spatial: &SpatialRelation,
        trace: &mut LayerTrace,
    ) -> Result<Tensor> {
        let (context, subject) = split(tgt, config.num_context_queries)?;
        let learned = self.context_weights.as_ref().map(|linear| linear.forward(&subject)).transpose()?;
        let fused = aggregate(config, &context, &subject, spatial, learned.as_ref())?;
        trace.spatial_indices = spatial.indices.as_ref().map(Tensor::shallow_clone);
        trace.semantic_indices = fused.semantic_indices;
        trace.context_weights = fused.context_weights;
        Ok(Tensor::f_cat(&[context, fused.subject], 1)?)
    }
}

/// `torch.nn.MultiheadAttention` (batch first) with query = key: `{in_proj_weight, in_proj_bias, out_proj}`.
struct MultiheadAttention {
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    out_proj: Linear,
    heads: i64,
}

impl MultiheadAttention {
    fn new(params: &Params, heads: i64) -> Result<Self> {
        let (in_proj_weight, in_proj_bias) = (params.get("in_proj_weight")?, params.get("in_proj_bias")?);
        Ok(Self { in_proj_weight, in_proj_bias, out_proj: Linear::new(&(params / "out_proj"))?, heads })
    }

    /// `query` (B, Q, E) is query and key, `value` (B, Q, E); dropout applies to the attention weights.
    fn forward(&self, query: &Tensor, value: &Tensor, dropout: Dropout) -> Result<Tensor> {
        let (b, q, e) = query.size3()?;
        let project = |x: &Tensor, start: i64, rows: i64| -> Result<Tensor> {
            let weight = self.in_proj_weight.f_narrow(0, start, rows)?;
            Ok(x.f_linear(&weight, Some(&self.in_proj_bias.f_narrow(0, start, rows)?))?)
        };
        let heads =
            |x: &Tensor| -> Result<Tensor> { Ok(x.f_view([b, q, self.heads, e / self.heads])?.f_transpose(1, 2)?) };
        let both = project(query, 0, 2 * e)?;
        let (query, key) = (heads(&both.f_narrow(2, 0, e)?)?, heads(&both.f_narrow(2, e, e)?)?);
        let value = heads(&project(value, 2 * e, e)?)?;
        let p = if dropout.train { dropout.p } else { 0.0 };
        let mask: Option<Tensor> = None;
        let attended = Tensor::f_scaled_dot_product_attention(&query, &key, &value, mask, p, false, None, false)?;
        self.out_proj.forward(&attended.f_transpose(1, 2)?.f_reshape([b, q, e])?)
    }
}

/// Reference points of the queries: sigmoid(Linear(position half)), the same for every image and layer.
/// `query_pos` (…, Q, E) -> (…, Q, 2) in float32 or float64.
///
/// # Errors
/// A parameter is missing.
pub fn reference_points(params: &Params, query_pos: &Tensor) -> Result<Tensor> {
    let points = Linear::new(params)?.forward(query_pos)?;
    Ok(points.f_to_kind(coordinate_kind(points.kind()))?.f_sigmoid()?)
}
