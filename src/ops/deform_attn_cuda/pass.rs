//! The kernels' text, in the parts that are compiled together.

use super::specialisation::Specialisation;
use crate::ops::c_abi::FLOAT64;

/// Kernels that are compiled together: inference does not wait for those of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    Forward,
    Backward,
}

impl Pass {
    pub(super) const ALL: [Self; 2] = [Self::Forward, Self::Backward];

    /// What the text holds.
    pub(super) fn kernels(self, of: &Specialisation) -> &'static [&'static str] {
        const BACKWARD: [&str; 4] = [
            "deform_attn_backward",
            "deform_attn_backward_fixed_point",
            "deform_attn_from_fixed_point",
            "deform_attn_backward_tiled",
        ];
        match self {
            Self::Forward => &["deform_attn_forward", "deform_attn_forward_tiled"],
            Self::Backward if of.dtype == FLOAT64 => &BACKWARD[..3],
            Self::Backward => &BACKWARD,
        }
    }

    /// The text that NVRTC compiles.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Forward => concat!(
                include_str!("../../../cuda/kernels/deform_attn_types.cuh"),
                include_str!("../../../cuda/kernels/deform_attn_stage.cuh"),
                include_str!("../../../cuda/kernels/deform_attn_forward.cuh"),
            ),
            Self::Backward => concat!(
                include_str!("../../../cuda/kernels/deform_attn_types.cuh"),
                include_str!("../../../cuda/kernels/deform_attn_stage.cuh"),
                include_str!("../../../cuda/kernels/deform_attn_backward.cuh"),
                include_str!("../../../cuda/kernels/deform_attn_backward_tiled.cuh"),
            ),
        }
    }
}
