//! The whole model without Python: backbone → input projection → encoder → decoder → heads (DSCT, Fig. 3).
//!
//! Python's `dsct.DSCT` calls the same blocks one by one, so that hooks, checkpointing and swapped blocks work there;
//! this is the same walk for tensors read from a file.

use tch::Tensor;

use super::backbone::Backbone;
use super::check_shape;
use super::decoder::{reference_points, DecoderLayer};
use super::encoder::EncoderLayer;
use super::heads::Heads;
use super::input_projection::InputProjection;
use super::layers::Dropout;
use super::ms_deform_attn::{encoder_reference_points, Memory};
use super::position_encoding::Levels;
use super::relational_aggregation::{split, SpatialRelation};
use crate::{DsctConfig, Params, Result};

/// Maps that every backbone of this crate returns.
pub const BACKBONE_MAPS: usize = 3;

/// A model bound to parameters.
pub struct Dsct {
    config: DsctConfig,
    backbone: Backbone,
    input_proj: InputProjection,
    level_embed: Tensor,
    encoder: Vec<EncoderLayer>,
    decoder: Vec<DecoderLayer>,
    heads: Vec<Heads>,
    queries: Tensor,
    reference_points: Tensor,
}

/// Heads number `i`, or the first: a file may hold the heads that all layers share once, under the first of their names.
fn own<'a>(parent: &Params<'a>, i: usize) -> Params<'a> {
    parent / if parent.has_child(&i.to_string()) { i } else { 0 }
}

/// Predictions for the N subject queries.
pub struct Output {
    /// (B, N, C or C+1).
    pub pred_logits: Tensor,
    /// (B, N, 4), cx cy w h in [0, 1] of the unpadded image.
    pub pred_boxes: Tensor,
    /// The same two of every earlier decoder layer.
    pub aux_outputs: Vec<(Tensor, Tensor)>,
}

impl Dsct {
    /// Binds the parameters, named as in the released checkpoints.
    ///
    /// # Errors
    /// An invalid configuration, or the full path of a parameter that is missing.
    pub fn new(config: DsctConfig, params: &Params) -> Result<Self> {
        config.validate()?;
        let transformer = params / "transformer";
        let body = params / "backbone" / 0 / "body";
        let encoder = &transformer / "encoder" / "layers";
        let decoder = &transformer / "decoder" / "layers";
        let (class_embed, bbox_embed) = (params / "class_embed_dsct", params / "bbox_embed_dsct");
        let heads = |i: usize| Heads::new(&own(&class_embed, i), &own(&bbox_embed, i));
        let mut queries = (params / "query_embed_dsct").get("weight")?;
        if config.num_context_queries > 0 {
            queries = Tensor::f_cat(&[(params / "query_embed").get("weight")?, queries], 0)?;
        }
        let position = queries.f_narrow(1, 0, config.hidden_dim)?.f_unsqueeze(0)?;
        Ok(Self {
            backbone: Backbone::new(&config.backbone, &body)?,
            input_proj: InputProjection::new(&(params / "input_proj"), config.num_feature_levels, BACKBONE_MAPS)?,
            level_embed: transformer.get("level_embed")?,
            encoder: (0..config.enc_layers)
                .map(|i| EncoderLayer::new(&(&encoder / i), &config))
                .collect::<Result<_>>()?,
            decoder: (0..config.dec_layers)
                .map(|i| DecoderLayer::new(&(&decoder / i), &config, i))
                .collect::<Result<_>>()?,
            heads: (0..config.dec_layers).map(heads).collect::<Result<_>>()?,
            reference_points: reference_points(&(&transformer / "reference_points"), &position)?,
            queries,
            config,
        })
    }

    /// The configuration that the parameters were bound with.
    pub fn config(&self) -> &DsctConfig {
        &self.config
    }

    /// Predicts, in evaluation mode.
    ///
    /// `images` (B, 3, H, W), ImageNet-normalised, in the parameters' dtype; `mask` (B, H, W) bool, true = padding.
    ///
    /// # Errors
    /// Shapes or dtypes that do not fit, by name.
    pub fn forward(&self, images: &Tensor, mask: Option<&Tensor>) -> Result<Output> {
        check_shape("DSCT", "images", images, "(B, 3, H, W)", &[-1, 3, -1, -1])?;
        let dropout = Dropout { p: 0.0, train: false };
        let maps = self.input_proj.forward(&self.backbone.forward(images)?)?;
        let levels = Levels::new(&maps, mask, &self.level_embed)?;
        let reference = encoder_reference_points(&levels.spatial_shapes, &levels.valid_ratios)?;
        let mut src = levels.src.shallow_clone();
        for layer in &self.encoder {
            let memory = Memory { src: &src, ..levels.memory() };
            src = layer.forward(&memory, Some(&levels.pos), &reference, dropout)?;
        }
        self.decode(&Memory { src: &src, ..levels.memory() }, &levels.valid_ratios, dropout)
    }

    fn decode(&self, memory: &Memory, valid_ratios: &Tensor, dropout: Dropout) -> Result<Output> {
        let batch = memory.src.size()[0];
        let (total, width) = self.queries.size2()?;
        let queries = self.queries.f_unsqueeze(0)?.f_expand([batch, total, width], false)?;
        let (query_pos, mut tgt) = (queries.f_narrow(2, 0, width / 2)?, queries.f_narrow(2, width / 2, width / 2)?);
        let points = self.reference_points.f_expand([batch, total, 2], false)?;
        let spatial = SpatialRelation::new(&self.config, &points, valid_ratios)?;
        let scaled = points.f_unsqueeze(2)?.f_mul(&valid_ratios.f_unsqueeze(1)?)?;
        let (_, subject_points) = split(&points, self.config.num_context_queries)?;
        let mut outputs = vec![];
        for (layer, heads) in self.decoder.iter().zip(&self.heads) {
            let step =
                layer.forward(&self.config, &tgt, Some(&query_pos), &scaled, memory, &spatial, dropout, false)?;
            tgt = step.0;
            let (_, subject) = split(&tgt, self.config.num_context_queries)?;
            outputs.push(heads.forward(&subject, &subject_points)?);
        }
        let (pred_logits, pred_boxes) = outputs.pop().expect("validate() asks for at least one decoder layer");
        Ok(Output { pred_logits, pred_boxes, aux_outputs: outputs })
    }
}
