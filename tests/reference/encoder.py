"""Deformable encoder: every cell of every level attends to points around itself in all levels (paper, appendix A)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .deform_attn import MSDeformAttn, SpatialShapes

if TYPE_CHECKING:
    from dsct.config import DSCTConfig


def encoder_reference_points(spatial_shapes: SpatialShapes, valid_ratios: Tensor) -> Tensor:
    """Where each cell looks: its own centre, as a fraction of the unpadded image, seen in every level.

    Cell (x, y) of level l, with r_l its valid ratio, is seen in level k at::

        ((x + 1/2) / (r_l.w * W_l), (y + 1/2) / (r_l.h * H_l)) * r_k

    Args:
        spatial_shapes: (H_l, W_l) of each level.
        valid_ratios: (B, L, 2) as (width, height).

    Returns:
        (B, S, L, 2).
    """
    centres = []
    for level, (height, width) in enumerate(spatial_shapes):
        y = torch.arange(height, dtype=valid_ratios.dtype, device=valid_ratios.device) + 0.5
        x = torch.arange(width, dtype=valid_ratios.dtype, device=valid_ratios.device) + 0.5
        cells = torch.stack((x.repeat(height), y.repeat_interleave(width)), dim=-1)
        size = valid_ratios.new_tensor((width, height))
        centres.append(cells[None] / (valid_ratios[:, None, level] * size))
    return torch.cat(centres, dim=1)[:, :, None] * valid_ratios[:, None]


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward network, each with a residual and then a norm."""

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        self.self_attn = MSDeformAttn(cfg.hidden_dim, cfg.num_feature_levels, cfg.nheads, cfg.enc_n_points)
        self.norm1 = nn.LayerNorm(cfg.hidden_dim)
        self.linear1 = nn.Linear(cfg.hidden_dim, cfg.dim_feedforward)
        self.linear2 = nn.Linear(cfg.dim_feedforward, cfg.hidden_dim)
        self.norm2 = nn.LayerNorm(cfg.hidden_dim)
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(
        self,
        src: Tensor,
        pos: Tensor | None,
        reference_points: Tensor,
        spatial_shapes: SpatialShapes,
        padding_mask: Tensor | None,
    ) -> Tensor:
        """One layer; ``src`` and the result are (B, S, E), ``reference_points`` (B, S, L, 2)."""
        query = src if pos is None else src + pos
        attended, _, _ = self.self_attn(query, reference_points, src, spatial_shapes, padding_mask)
        src = self.norm1(src + self.dropout(attended))
        hidden = self.linear2(self.dropout(self.linear1(src).relu()))
        output: Tensor = self.norm2(src + self.dropout(hidden))
        return output


class DeformableEncoder(nn.Module):
    """``enc_layers`` encoder layers."""

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(cfg) for _ in range(cfg.enc_layers))

    def forward(
        self,
        src: Tensor,
        spatial_shapes: SpatialShapes,
        valid_ratios: Tensor,
        pos: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Encode the flattened maps.

        Args:
            src: (B, S, E), the projected maps.
            spatial_shapes: (H_l, W_l) of each level.
            valid_ratios: (B, L, 2) as (width, height).
            pos: (B, S, E), position encoding plus level embedding.
            padding_mask: (B, S) bool, True = padding.

        Returns:
            (B, S, E).
        """
        reference_points = encoder_reference_points(spatial_shapes, valid_ratios)
        output = src
        for layer in self.layers:
            output = layer(output, pos, reference_points, spatial_shapes, padding_mask)
        return output
