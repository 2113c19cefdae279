//! Emotion and box heads, shared by all decoder layers (DSCT, section 3.1).

use tch::Tensor;

use super::layers::Linear;
use super::{check_shape, coordinate_kind};
use crate::{Params, Result};

/// `class_embed_dsct.i` and `bbox_embed_dsct.i.layers.{0,1,2}`.
pub struct Heads {
    class_embed: Linear,
    bbox_embed: [Linear; 3],
}

impl Heads {
    /// Binds a class and a box head.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(class_embed: &Params, bbox_embed: &Params) -> Result<Self> {
        let layers = bbox_embed / "layers";
        let layer = |i: usize| Linear::new(&(&layers / i));
        Ok(Self { class_embed: Linear::new(class_embed)?, bbox_embed: [layer(0)?, layer(1)?, layer(2)?] })
    }

    /// Logits and boxes (cx, cy, w, h in [0, 1] of the unpadded image) of subjects.
    ///
    /// `subject` (…, N, E) and `reference_points` (B, N, 2), unscaled -> (…, N, C or C+1) and (…, N, 4). The box is
    /// sigmoid(MLP + (logit of the reference point, 0, 0)).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, subject: &Tensor, reference_points: &Tensor) -> Result<(Tensor, Tensor)> {
        let queries = subject.size()[subject.dim() - 2];
        check_shape("heads", "reference_points", reference_points, "(B, N, 2)", &[-1, queries, 2])?;
        let logits = self.class_embed.forward(subject)?;
        let [first, second, third] = &self.bbox_embed;
        let hidden = second.forward(&first.forward(subject)?.f_relu()?)?.f_relu()?;
        let offset = third.forward(&hidden)?;
        let offset = offset.f_to_kind(coordinate_kind(offset.kind()))?;
        let centre = offset.f_narrow(-1, 0, 2)?.f_add(&inverse_sigmoid(reference_points)?)?;
        let boxes = Tensor::f_cat(&[centre, offset.f_narrow(-1, 2, 2)?], -1)?.f_sigmoid()?;
        Ok((logits, boxes))
    }
}

/// log(x / (1 − x)) with numerator and denominator at least 1e-5.
fn inverse_sigmoid(x: &Tensor) -> Result<Tensor> {
    const EPS: f64 = 1e-5;
    let numerator = x.f_clamp_min(EPS)?;
    let denominator = x.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(EPS)?;
    Ok(numerator.f_div(&denominator)?.f_log()?)
}
