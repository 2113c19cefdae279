//! The deformable attention module (Deformable DETR, Eq. 3): projections around
//! [`crate::ops::ms_deform_attn_fused`].

use tch::{Kind, Tensor};

use super::layers::Linear;
use super::{check_batch, check_shape, coordinate_kind};
use crate::{ops, Error, Params, Result};

const OP: &str = "MSDeformAttn";

/// What deformable attention samples: the levels of an image, one after another.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// (B, S, E).
    pub src: &'a Tensor,
    /// (height, width) of each level.
    pub spatial_shapes: &'a [(i64, i64)],
    /// (B, S) bool, true = padding, whose values are zeroed.
    pub padding_mask: Option<&'a Tensor>,
}

/// `{sampling_offsets, attention_weights, value_proj, output_proj}`.
pub struct MsDeformAttn {
    sampling_offsets: Linear,
    attention_weights: Linear,
    value_proj: Linear,
    output_proj: Linear,
    heads: i64,
    points: i64,
}

impl MsDeformAttn {
    /// Binds the four projections.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params, heads: i64, points: i64) -> Result<Self> {
        Ok(Self {
            sampling_offsets: Linear::new(&(params / "sampling_offsets"))?,
            attention_weights: Linear::new(&(params / "attention_weights"))?,
            value_proj: Linear::new(&(params / "value_proj"))?,
            output_proj: Linear::new(&(params / "output_proj"))?,
            heads,
            points,
        })
    }

    /// Every query samples `points` cells per level and head around its reference point: (B, Q, E).
    ///
    /// * `query` (B, Q, E).
    /// * `reference_points` (B or 1, Q, L, 2) as (x, y), or (B or 1, Q, L, 4) as (cx, cy, w, h); both in [0, 1] of
    ///   the padded maps.
    ///
    /// # Errors
    /// Shapes that do not fit, by name.
    pub fn forward(&self, query: &Tensor, reference_points: &Tensor, memory: &Memory) -> Result<Tensor> {
        let spatial_shapes = memory.spatial_shapes;
        self.check(query, reference_points, spatial_shapes)?;
        let (b, q, e) = query.size3()?;
        let value = self.value(memory.src, [b, e], memory.padding_mask)?;
        let reference = reference_points.f_to_kind(coordinate_kind(query.kind()))?;
        let last = reference.size()[3];
        let reference = reference.f_expand([b, q, spatial_shapes.len() as i64, last], false)?;
        let (offsets, logits) = self.project(query, spatial_shapes.len())?;
        let sampled = ops::ms_deform_attn_fused(&value, spatial_shapes, &reference, &offsets, &logits)?;
        self.output_proj.forward(&sampled)
    }

    /// Where [`Self::forward`] samples and how much each point counts, for figures: locations (B, Q, M, L, P, 2) as
    /// (x, y) in [0, 1] of the padded maps, and weights (B, Q, M, L, P) that sum to 1 for each query and head.
    ///
    /// # Errors
    /// Shapes that do not fit, by name.
    pub fn sampling_points(
        &self,
        query: &Tensor,
        reference_points: &Tensor,
        spatial_shapes: &[(i64, i64)],
    ) -> Result<(Tensor, Tensor)> {
        self.check(query, reference_points, spatial_shapes)?;
        let kind = coordinate_kind(query.kind());
        let (offsets, logits) = self.project(query, spatial_shapes.len())?;
        let weights = logits.f_flatten(3, 4)?.f_softmax(-1, kind)?.f_view_as(&logits)?;
        let (offsets, reference) = (offsets.f_to_kind(kind)?, reference_points.f_to_kind(kind)?);
        Ok((self.sampling_locations(&offsets, &reference, spatial_shapes)?, weights))
    }

    fn check(&self, query: &Tensor, reference_points: &Tensor, spatial_shapes: &[(i64, i64)]) -> Result<()> {
        check_shape(OP, "query", query, "(B, Q, E)", &[-1, -1, self.value_proj.inputs()])?;
        let (b, q, _) = query.size3()?;
        let (levels, expected) = (spatial_shapes.len() as i64, self.attention_weights.outputs() / self.samples());
        if levels != expected {
            return Err(Error::argument(OP, "spatial_shapes", format!("L = {expected} levels"), levels));
        }
        check_shape(OP, "reference_points", reference_points, "(B, Q, L, 2 or 4)", &[-1, q, levels, -1])?;
        check_batch(OP, "reference_points", reference_points, b)?;
        match reference_points.size()[3] {
            2 | 4 => Ok(()),
            n => Err(Error::argument(OP, "reference_points", "(B, Q, L, 2 or 4)", [n])),
        }
    }

    /// M·P.
    fn samples(&self) -> i64 {
        self.heads * self.points
    }

    /// The cells' values (B, S, M, D), zero where `padding_mask` says padding.
    fn value(&self, src: &Tensor, [b, e]: [i64; 2], padding_mask: Option<&Tensor>) -> Result<Tensor> {
        check_shape(OP, "src", src, "(B, S, E)", &[b, -1, e])?;
        let s = src.size()[1];
        let mut value = self.value_proj.forward(src)?;
        if let Some(mask) = padding_mask {
            check_shape(OP, "padding_mask", mask, "(B, S)", &[b, s])?;
            if mask.kind() != Kind::Bool {
                return Err(Error::Type(format!("{OP}: padding_mask must be bool, got {:?}", mask.kind())));
            }
            let mask = mask.f_unsqueeze(-1)?;
            // In place only without a gradient, see `add_to`.
            value = if value.requires_grad() {
                value.f_masked_fill(&mask, 0.0)?
            } else {
                value.f_masked_fill_(&mask, 0.0)?
            };
        }
        Ok(value.f_view([b, s, self.heads, e / self.heads])?)
    }

    /// Offsets (B, Q, M, L, P, 2) and logits (B, Q, M, L, P).
    fn project(&self, query: &Tensor, levels: usize) -> Result<(Tensor, Tensor)> {
        let (b, q, _) = query.size3()?;
        let (m, l, p) = (self.heads, levels as i64, self.points);
        let offsets = self.sampling_offsets.forward(query)?.f_view([b, q, m, l, p, 2])?;
        Ok((offsets, self.attention_weights.forward(query)?.f_view([b, q, m, l, p])?))
    }

    /// Reference plus offset / (W_l, H_l), or plus offset / P · (w, h) / 2 for boxes.
    fn sampling_locations(&self, offsets: &Tensor, reference: &Tensor, shapes: &[(i64, i64)]) -> Result<Tensor> {
        let reference = reference.f_unsqueeze(2)?.f_unsqueeze(4)?;
        if reference.size()[5] == 2 {
            return Ok(reference.f_add(&offsets.f_div(&level_sizes(shapes, offsets)?)?)?);
        }
        let (centre, size) = (reference.f_narrow(5, 0, 2)?, reference.f_narrow(5, 2, 2)?);
        let step = size.f_mul_scalar(0.5 / self.points as f64)?;
        Ok(centre.f_add(&offsets.f_mul(&step)?)?)
    }
}

/// (L, 1, 2) as (width, height), on the device and in the dtype of `like`.
fn level_sizes(shapes: &[(i64, i64)], like: &Tensor) -> Result<Tensor> {
    // Filled where it is needed: no copy from the host, and torch's transforms and fake tensors see every step.
    let options = (like.kind(), like.device());
    let fill = |&n: &i64| Ok(Tensor::f_full([1], n, options)?);
    let sizes = shapes.iter().flat_map(|(h, w)| [w, h]).map(fill).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_cat(&sizes, 0)?.f_view([-1, 1, 2])?)
}

/// Centre of every cell as a fraction of the unpadded image, seen in every level (spec of the encoder):
/// ((x + ½)/(r_w·W_l), (y + ½)/(r_h·H_l)) · r_k. `valid_ratios` (B', L, 2) -> (B', S, L, 2).
///
/// # Errors
/// `valid_ratios` that do not fit the levels.
pub fn encoder_reference_points(spatial_shapes: &[(i64, i64)], valid_ratios: &Tensor) -> Result<Tensor> {
    let levels = spatial_shapes.len() as i64;
    check_shape("encoder", "valid_ratios", valid_ratios, "(B, L, 2)", &[-1, levels, 2])?;
    let options = (valid_ratios.kind(), valid_ratios.device());
    let mut points = vec![];
    for (level, &(h, w)) in spatial_shapes.iter().enumerate() {
        let centres = |n: i64| -> Result<Tensor> { Ok(Tensor::f_arange(n, options)?.f_add_scalar(0.5)?) };
        let x = centres(w)?.f_div_scalar(w)?.f_unsqueeze(0)?.f_expand([h, w], false)?;
        let y = centres(h)?.f_div_scalar(h)?.f_unsqueeze(1)?.f_expand([h, w], false)?;
        let cells = Tensor::f_stack(&[x, y], -1)?.f_reshape([1, h * w, 2])?;
        points.push(cells.f_div(&valid_ratios.f_narrow(1, level as i64, 1)?)?);
    }
    Ok(Tensor::f_cat(&points, 1)?.f_unsqueeze(2)?.f_mul(&valid_ratios.f_unsqueeze(1)?)?)
}
