//! Input projection: one convolution and group norm per level, from the backbone's channels to E
//! (Deformable DETR, appendix A.4). Levels beyond the backbone's maps come from stride-2 convolutions.

use tch::Tensor;

use super::layers::{Conv2d, GroupNorm};
use crate::{Error, Params, Result};

/// `input_proj.{0 … L−1}.{0,1}`.
pub struct InputProjection {
    levels: Vec<(Conv2d, GroupNorm)>,
    maps: usize,
}

impl InputProjection {
    /// Binds L projections for a backbone of `maps` maps.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn new(params: &Params, levels: usize, maps: usize) -> Result<Self> {
        let used = maps.min(levels);
        let level = |level: usize| {
            let at = params / level;
            let (stride, padding) = if level < used { (1, 0) } else { (2, 1) };
            Ok((Conv2d::new(&(&at / 0), stride, padding)?, GroupNorm::new(&(&at / 1), 32)?))
        };
        Ok(Self { levels: (0..levels).map(level).collect::<Result<_>>()?, maps })
    }

    /// Backbone maps (B, C_i, H_i, W_i), finest first -> L maps (B, E, H_l, W_l). Fewer levels than maps use the
    /// coarsest; the first extra level starts at the last map of the backbone, later ones at the level before.
    ///
    /// # Errors
    /// [`Error::Value`] for another number of maps than announced.
    pub fn forward(&self, features: &[Tensor]) -> Result<Vec<Tensor>> {
        if features.len() != self.maps {
            let text = format!("input_projection: features must be {} maps, got {}", self.maps, features.len());
            return Err(Error::Value(text));
        }
        let used = &features[self.maps.saturating_sub(self.levels.len())..];
        let mut maps: Vec<Tensor> = vec![];
        for (level, (convolution, norm)) in self.levels.iter().enumerate() {
            let source = match used.get(level) {
                Some(map) => map,
                None if level == used.len() => &used[level - 1],
                None => &maps[level - 1],
            };
            maps.push(norm.forward(&convolution.forward(source)?)?);
        }
        Ok(maps)
    }
}
