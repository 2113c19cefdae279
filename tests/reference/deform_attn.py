"""Multi-scale deformable attention (paper, appendix A; Zhu et al., "Deformable DETR", Eq. 2-3).

For head m of query q, with x^l the map of level l, p_mlqk a sampling location and A_mlqk its weight::

    out[q, m] = sum over l, k of  A_mlqk * bilinear(x^l, p_mlqk)

A location (x, y) in [0, 1] lies at (x * W_l - 1/2, y * H_l - 1/2) in the coordinates of the cell centres, and a cell
outside the map counts as zero. The sum is written down twice, once through ``grid_sample`` and once cell by cell; the
two share no line.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SpatialShapes = list[tuple[int, int]]


def ms_deform_attn(
    value: Tensor, spatial_shapes: SpatialShapes, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """The weighted sum of bilinear samples, through ``torch.nn.functional.grid_sample``.

    Args:
        value: (B, S, M, D), the levels one after the other, each in row-major order.
        spatial_shapes: (H_l, W_l) of each of the L levels.
        sampling_locations: (B, Q, M, L, P, 2) as (x, y), [0, 1] inside the map.
        attention_weights: (B, Q, M, L, P), any real numbers.

    Returns:
        (B, Q, M * D).
    """
    batch, _, heads, channels = value.shape
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    output = value.new_zeros(batch, queries, heads, channels)
    start = 0
    for level, (height, width) in enumerate(spatial_shapes):
        cells = value[:, start : start + height * width]
        start += height * width
        maps = cells.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
        # grid_sample wants [-1, 1] from edge to edge of the map, which is what align_corners=False means.
        grid = (2 * sampling_locations[:, :, :, level] - 1).transpose(1, 2).reshape(batch * heads, queries, points, 2)
        samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        samples = samples.reshape(batch, heads, channels, queries, points)
        output = output + torch.einsum("bmdqp,bqmp->bqmd", samples, attention_weights[:, :, :, level])
    return output.flatten(2)


def ms_deform_attn_gather(
    value: Tensor, spatial_shapes: SpatialShapes, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """The same sum, cell by cell: each sample reads the four cells around it. Arguments as ``ms_deform_attn``."""
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    batch_index = torch.arange(batch, device=value.device)[:, None, None, None]
    head_index = torch.arange(heads, device=value.device)[None, None, :, None]
    output = value.new_zeros(batch, queries, heads, channels)
    start = 0
    for level, (height, width) in enumerate(spatial_shapes):
        x = sampling_locations[:, :, :, level, :, 0] * width - 0.5
        y = sampling_locations[:, :, :, level, :, 1] * height - 0.5
        left, top = x.floor(), y.floor()
        for column, column_weight in ((left, left + 1 - x), (left + 1, x - left)):
            for row, row_weight in ((top, top + 1 - y), (top + 1, y - top)):
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                cell = start + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
                weight = attention_weights[:, :, :, level] * column_weight * row_weight * inside
                output = output + (weight[..., None] * value[batch_index, cell, head_index]).sum(dim=3)
        start += height * width
    return output.flatten(2)


class MSDeformAttn(nn.Module):
    """Deformable attention with its projections: offsets and weights come from the query, values from the maps.

    Args:
        d_model: E.
        n_levels: L.
        n_heads: M.
        n_points: P.
    """

    def __init__(self, d_model: int = 256, n_levels: int = 4, n_heads: int = 8, n_points: int = 4) -> None:
        super().__init__()
        self.n_levels, self.n_heads, self.n_points = n_levels, n_heads, n_points
        self.sampling_offsets = nn.Linear(d_model, n_heads * n_levels * n_points * 2)
        self.attention_weights = nn.Linear(d_model, n_heads * n_levels * n_points)
        self.value_proj = nn.Linear(d_model, d_model)
        self.output_proj = nn.Linear(d_model, d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Offsets look in M directions, P steps far, whatever the query; weights are uniform; the rest is Xavier."""
        angle = torch.arange(self.n_heads, dtype=torch.float64) * (2 * math.pi / self.n_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.n_points + 1, dtype=torch.float64)
        offsets = direction[:, None, None, :] * steps[None, None, :, None]
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.n_levels, -1, -1).flatten())
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            for projection in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(projection.weight)
                projection.bias.zero_()

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        value: Tensor,
        spatial_shapes: SpatialShapes,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend from each query to P points around its reference point, in every level.

        Args:
            query: (B, Q, E), position already added.
            reference_points: (B, Q, L, 2) in the frame of the padded maps.
            value: (B, S, E), without position.
            spatial_shapes: (H_l, W_l) of each level.
            padding_mask: (B, S) bool, True = padding: such values are zero.

        Returns:
            Output (B, Q, E), sampling locations (B, Q, M, L, P, 2), attention weights (B, Q, M, L, P).
        """
        batch, queries, _ = query.shape
        shape = (batch, queries, self.n_heads, self.n_levels, self.n_points)
        projected = self.value_proj(value)
        if padding_mask is not None:
            projected = projected.masked_fill(padding_mask[..., None], 0.0)
        size = query.new_tensor([(width, height) for height, width in spatial_shapes])
        offsets = self.sampling_offsets(query).reshape(*shape, 2)
        locations = reference_points[:, :, None, :, None, :] + offsets / size[None, None, None, :, None, :]
        weights = self.attention_weights(query).reshape(batch, queries, self.n_heads, self.n_levels * self.n_points)
        weights = weights.softmax(dim=-1).reshape(shape)
        heads = projected.reshape(batch, value.shape[1], self.n_heads, value.shape[2] // self.n_heads)
        output = self.output_proj(ms_deform_attn(heads, spatial_shapes, locations, weights))
        return output, locations, weights
