//! Masks of the feature levels, 2-D sine position encoding, valid ratios and the flattening of the levels
//! (Deformable DETR, appendix A.4). Without a mask all of it is the same for every image, so it is computed once,
//! with batch size 1, and broadcasts.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

use super::ms_deform_attn::Memory;
use super::{check_shape, coordinate_kind};
use crate::{Error, Result};

/// What encoder and decoder take: the levels, flattened and concatenated. B' is B, or 1 without a mask.
pub struct Levels {
    /// (B, S, E), the projected maps.
    pub src: Tensor,
    /// (B', S, E), position encoding plus level embedding, in the dtype of `src`.
    pub pos: Tensor,
    /// (B, S) bool, true = padding; `None` when nothing is padded.
    pub padding_mask: Option<Tensor>,
    /// (height, width) of each level.
    pub spatial_shapes: Vec<(i64, i64)>,
    /// (B', L, 2) as (width, height), float32 or float64: the unpadded part of each level.
    pub valid_ratios: Tensor,
}

impl Levels {
    /// Flattens `maps`, L of (B, E, H_l, W_l). `mask` (B, H, W) bool, true = padding; `level_embed` (L, E).
    ///
    /// # Errors
    /// [`Error::Argument`] for a mask or embedding that does not fit.
    pub fn new(maps: &[Tensor], mask: Option<&Tensor>, level_embed: &Tensor) -> Result<Self> {
        let (batch, channels, ..) =
            maps.first().ok_or_else(|| Error::Value("levels: maps is empty".into()))?.size4()?;
        check_shape("levels", "level_embed", level_embed, "(L, E)", &[maps.len() as i64, channels])?;
        if let Some(mask) = mask {
            check_shape("levels", "mask", mask, "(B, H, W)", &[batch, -1, -1])?;
            if mask.kind() != Kind::Bool {
                return Err(Error::Type(format!("levels: mask must be bool, got {:?}", mask.kind())));
            }
        }
        let kind = maps[0].kind();
        let (mut src, mut pos, mut padding, mut ratios, mut spatial_shapes) = (vec![], vec![], vec![], vec![], vec![]);
        for (level, map) in maps.iter().enumerate() {
            let (_, _, h, w) = map.size4()?;
            let cells = match mask {
                Some(mask) => level_mask(mask, h, w)?,
                None => Tensor::f_zeros([1, h, w], (Kind::Bool, map.device()))?,
            };
            let code = sine_position_encoding(&cells, channels, coordinate_kind(kind))?;
            src.push(map.f_flatten(2, 3)?.f_transpose(1, 2)?);
            pos.push(code.f_flatten(1, 2)?.f_to_kind(kind)?.f_add(&level_embed.f_get(level as i64)?)?);
            ratios.push(valid_ratio(&cells, coordinate_kind(kind))?);
            padding.push(cells.f_flatten(1, 2)?);
            spatial_shapes.push((h, w));
        }
        Ok(Self {
            src: Tensor::f_cat(&src, 1)?,
            pos: Tensor::f_cat(&pos, 1)?,
            padding_mask: if mask.is_some() { Some(Tensor::f_cat(&padding, 1)?) } else { None },
            spatial_shapes,
            valid_ratios: Tensor::f_stack(&ratios, 1)?,
        })
    }

    /// What the first encoder layer sees.
    pub fn memory(&self) -> Memory<'_> {
        Memory { src: &self.src, spatial_shapes: &self.spatial_shapes, padding_mask: self.padding_mask.as_ref() }
    }
}

/// The mask of a level: cell (i, j) takes pixel (⌊i·H/H_l⌋, ⌊j·W/W_l⌋), in whole numbers. (B, H, W) -> (B, H_l, W_l).
fn level_mask(mask: &Tensor, h: i64, w: i64) -> Result<Tensor> {
    let (_, height, width) = mask.size3()?;
    let rows = nearest(height, h, mask.device())?;
    let columns = nearest(width, w, mask.device())?;
    Ok(mask.f_index_select(1, &rows)?.f_index_select(2, &columns)?)
}

fn nearest(pixels: i64, cells: i64, device: Device) -> Result<Tensor> {
    let index = Tensor::f_arange(cells, (Kind::Int64, device))?;
    Ok(index.f_mul_scalar(pixels)?.f_divide_scalar_mode(cells, "floor")?)
}

/// Sines and cosines of a cell's place among the unpadded cells of its column (first E/2 channels) and row.
///
/// With y the number of unpadded cells down to the cell and Y that number at the bottom, the angle is
/// 2π(y − ½)/(Y + 1e-6) divided by 10000^(4i/E); sine and cosine interleave. (B, H, W) -> (B, H, W, E).
fn sine_position_encoding(mask: &Tensor, channels: i64, kind: Kind) -> Result<Tensor> {
    let half = channels / 2;
    let index = Tensor::f_arange(half / 2, (Kind::Double, mask.device()))?;
    let frequency = index.f_mul_scalar(-2.0 * 10000f64.ln() / half as f64)?.f_exp()?.f_to_kind(kind)?;
    let valid = mask.f_logical_not()?;
    let mut codes = vec![];
    for axis in [1, 2] {
        let count = valid.f_cumsum(axis, kind)?;
        let last = count.f_narrow(axis, count.size()[axis as usize] - 1, 1)?;
        let angle = count.f_sub_scalar(0.5)?.f_div(&last.f_add_scalar(1e-6)?)?.f_mul_scalar(2.0 * PI)?;
        let angle = angle.f_unsqueeze(-1)?.f_mul(&frequency)?;
        codes.push(Tensor::f_stack(&[angle.f_sin()?, angle.f_cos()?], -1)?.f_flatten(-2, -1)?);
    }
    Ok(Tensor::f_cat(&codes, -1)?)
}

/// (unpadded cells of the first row / W, unpadded cells of the first column / H): (B, H, W) -> (B, 2).
fn valid_ratio(mask: &Tensor, kind: Kind) -> Result<Tensor> {
    let (_, h, w) = mask.size3()?;
    let valid = mask.f_logical_not()?;
    let row = valid.f_select(1, 0)?.f_sum_dim_intlist(1, false, kind)?.f_div_scalar(w)?;
    let column = valid.f_select(2, 0)?.f_sum_dim_intlist(1, false, kind)?.f_div_scalar(h)?;
    Ok(Tensor::f_stack(&[row, column], -1)?)
}
