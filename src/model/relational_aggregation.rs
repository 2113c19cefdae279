//! Spatial-semantic relational aggregation of context queries into subject queries (DSCT, section 3.2, Eq. 6-8).
//!
//! For every subject n with embedding `E_S[n]`, context embeddings E_C and reference points p:
//!
//! * spatial set: the K_sp context queries with the smallest `‖p_C − p_S[n]‖` (Eq. 6);
//! * semantic set: the K_sm with the smallest (`lowest`) or largest (`highest`) `⟨E_C, E_S[n]⟩` (Eq. 7);
//! * `union` (Eq. 8): E_S + Σ w E_C with one softmax over both sets, a query chosen twice counted twice;
//! * `split` (the released code): one softmax per set, and + softmax(E_S E_Sᵀ) E_S.
//!
//! Gradients flow through weights and embeddings, not through the selection. The sum over a set is a product with a
//! sparse (N, M_c) matrix of weights, which spares the (B, N, K, E) gather of the equation.

use tch::{Kind, Tensor};

use super::{check_batch, check_shape};
use crate::config::{Aggregation, Relation, Reweighting, SemanticOrder, SpatialFrame};
use crate::{DsctConfig, Error, Result};

/// What depends on reference points only, hence the same for all layers.
pub struct SpatialRelation {
    /// (B, N, M_c) Euclidean distances, in the frame that the configuration names.
    pub distance: Tensor,
    /// (B, N, min(K_sp, M_c)) nearest first, ties by lower index; `None` when the selection has no spatial set.
    pub indices: Option<Tensor>,
}

impl SpatialRelation {
    /// `reference_points` (B, Q, 2), `valid_ratios` (B or 1, L, 2).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn new(config: &DsctConfig, reference_points: &Tensor, valid_ratios: &Tensor) -> Result<Self> {
        check_shape("decoder", "reference_points", reference_points, "(B, Q, 2)", &[-1, -1, 2])?;
        check_shape("decoder", "valid_ratios", valid_ratios, "(B, L, 2)", &[-1, -1, 2])?;
        check_batch("decoder", "valid_ratios", valid_ratios, reference_points.size()[0])?;
        if reference_points.size()[1] < config.num_context_queries {
            let expected = format!("(B, Q, 2) with at least {} context rows", config.num_context_queries);
            return Err(Error::argument("decoder", "reference_points", expected, reference_points.size()));
        }
        let points = match config.spatial_frame {
            SpatialFrame::Valid => reference_points.shallow_clone(),
            SpatialFrame::Padded => reference_points.f_mul(&valid_ratios.f_narrow(1, 0, 1)?)?,
        };
        let (context, subject) = split(&points, config.num_context_queries)?;
        let difference = subject.f_unsqueeze(2)?.f_sub(&context.f_unsqueeze(1)?)?;
        let distance = difference.f_norm_scalaropt_dim(2, [-1], false)?;
        let spatial = config.selection.contains(&Relation::Spatial);
        let indices = if spatial { Some(first_k(&distance, config.k_spatial, false)?) } else { None };
        Ok(Self { distance, indices })
    }
}

/// Rows [0, M_c) and the rest of dimension 1.
pub(super) fn split(queries: &Tensor, context: i64) -> Result<(Tensor, Tensor)> {
    let total = queries.size()[1];
    Ok((queries.f_narrow(1, 0, context)?, queries.f_narrow(1, context, total - context)?))
}

/// Indices (…, min(k, M_c)) of the smallest or largest, best first, equals by lower index.
fn first_k(score: &Tensor, k: i64, descending: bool) -> Result<Tensor> {
    let (_, order) = score.f_detach()?.f_sort_stable(true, -1, descending)?;
    let count = k.min(score.size().last().copied().unwrap_or(0));
    Ok(order.f_narrow(-1, 0, count)?)
}

/// Result of [`aggregate`].
pub struct Aggregated {
    /// (B, N, E).
    pub subject: Tensor,
    /// (B, N, K_sm), best first; `None` without a semantic set.
    pub semantic_indices: Option<Tensor>,
    /// (B, N, K) in the order spatial, semantic (or all M_c); `None` when nothing was chosen.
    pub context_weights: Option<Tensor>,
}

/// Fuses into every subject the context queries that are related to it.
///
/// * `context` (B, M_c, E), `subject` (B, N, E), without position.
/// * `learned` (B, N, M_c): logits of the `attentive` re-weighting.
///
/// # Errors
/// Torch's.
pub fn aggregate(
    config: &DsctConfig,
    context: &Tensor,
    subject: &Tensor,
    spatial: &SpatialRelation,
    learned: Option<&Tensor>,
) -> Result<Aggregated> {
    let relevance = subject.f_matmul(&context.f_transpose(1, 2)?)?;
    let semantic_indices = if config.selection.contains(&Relation::Semantic) {
        let highest = config.semantic_order == SemanticOrder::Highest;
        Some(first_k(&relevance, config.k_semantic, highest)?)
    } else {
        None
    };
    let mut sets: Vec<Tensor> = spatial.indices.iter().chain(&semantic_indices).map(Tensor::shallow_clone).collect();
    if config.selection.is_empty() {
        let all = Tensor::f_arange(context.size()[1], (Kind::Int64, context.device()))?;
        sets.push(all.f_expand(relevance.size(), false)?);
    }
    if sets.iter().all(|set| set.size()[2] == 0) {
        return Ok(Aggregated { subject: subject.shallow_clone(), semantic_indices, context_weights: None });
    }
    if config.aggregation == Aggregation::Union {
        sets = vec![Tensor::f_cat(&sets, -1)?];
    }

    let scores = match (config.reweighting, learned) {
        (Reweighting::Attentive, Some(logits)) => logits.shallow_clone(),
        (Reweighting::Equal, _) => relevance.f_zeros_like()?,
        (Reweighting::Spatial, _) => spatial.distance.f_neg()?.f_to_kind(relevance.kind())?,
        (Reweighting::Semantic | Reweighting::Attentive, _) => relevance.shallow_clone(),
    };
    let mut weights = vec![];
    let mut matrix = scores.f_zeros_like()?;
    for set in &sets {
        let weight = scores.f_gather(-1, set, false)?.f_softmax(-1, scores.kind())?;
        matrix = matrix.f_scatter_add(-1, set, &weight)?;
        weights.push(weight);
    }
    let mut fused = subject.f_add(&matrix.f_matmul(context)?)?;
    if config.aggregation == Aggregation::Split {
        let among = subject.f_matmul(&subject.f_transpose(1, 2)?)?.f_softmax(-1, subject.kind())?;
        fused = fused.f_add(&among.f_matmul(subject)?)?;
    }
    Ok(Aggregated { subject: fused, semantic_indices, context_weights: Some(Tensor::f_cat(&weights, -1)?) })
}
