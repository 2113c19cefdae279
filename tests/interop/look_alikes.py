"""Modules with the names and calls of well-known code bases, computing by the reference of this test suite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.reference.deform_attn import ms_deform_attn


def sample(module: Any, query: Tensor, points: Tensor, value: Tensor, shapes: Tensor, padding: Tensor | None) -> Tensor:
    """Deformable attention from projections, (B, Q, E) and (B, S, E) -> (B, Q, E) before the last projection."""
    batch, queries, _ = query.shape
    value = module.value_proj(value)
    if padding is not None:
        value = value.masked_fill(padding[..., None], 0.0)
    value = value.view(batch, value.shape[1], module.heads, -1)
    grid = (batch, queries, module.heads, module.levels, module.points)
    offsets = module.sampling_offsets(query).view(*grid, 2)
    weights = module.attention_weights(query).view(*grid[:3], -1).softmax(-1).view(grid)
    if points.shape[-1] == 2:
        locations = points[:, :, None, :, None] + offsets / shapes.flip(-1)[:, None]
    else:
        half = points[:, :, None, :, None, 2:] / 2
        locations = points[:, :, None, :, None, :2] + offsets / module.points * half
    return ms_deform_attn(value, [(int(h), int(w)) for h, w in shapes], locations, weights)


class Projections(nn.Module):
    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        samples = heads * levels * points
        self.sampling_offsets = nn.Linear(width, 2 * samples)
        self.attention_weights = nn.Linear(width, samples)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)


class MSDeformAttn(Projections):
    """Called as the original code's."""

    def __init__(self, d_model: int = 256, n_levels: int = 4, n_heads: int = 8, n_points: int = 4) -> None:
        super().__init__(d_model, n_heads, n_levels, n_points)
        self.im2col_step = 64
        self.d_model, self.n_levels, self.n_heads, self.n_points = d_model, n_levels, n_heads, n_points

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        input_flatten: Tensor,
        input_spatial_shapes: Tensor,
        input_level_start_index: Tensor,
        input_padding_mask: Tensor | None = None,
    ) -> Tensor:
        found = sample(self, query, reference_points, input_flatten, input_spatial_shapes, input_padding_mask)
        return self.output_proj(found)


class MoreArguments(MSDeformAttn):
    """With the argument that RF-DETR's decoder adds; one level of reference points may stand for all."""

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        input_flatten: Tensor,
        input_spatial_shapes: Tensor,
        input_level_start_index: Tensor,
        input_padding_mask: Tensor | None = None,
        input_spatial_shapes_hw: list[tuple[int, int]] | None = None,
    ) -> Tensor:
        shapes = input_spatial_shapes if input_spatial_shapes_hw is None else torch.tensor(input_spatial_shapes_hw)
        return self.output_proj(sample(self, query, reference_points, input_flatten, shapes, input_padding_mask))


class UnknownArgument(MSDeformAttn):
    """With one whose meaning nobody else can know."""

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        input_flatten: Tensor,
        input_spatial_shapes: Tensor,
        input_level_start_index: Tensor,
        input_padding_mask: Tensor | None = None,
        temperature: float = 2.0,
        **options: Any,
    ) -> Tensor:
        call = (query, reference_points, input_flatten, input_spatial_shapes, input_level_start_index)
        return temperature * super().forward(*call, input_padding_mask)


class UltralyticsAttention(Projections):
    """Called as Ultralytics' RT-DETR does: no starts of levels, one level of reference points."""

    def __init__(self, d_model: int, n_levels: int, n_heads: int, n_points: int) -> None:
        super().__init__(d_model, n_heads, n_levels, n_points)
        self.d_model, self.n_levels, self.n_heads, self.n_points = d_model, n_levels, n_heads, n_points

    def forward(
        self,
        query: Tensor,
        refer_bbox: Tensor,
        value: Tensor,
        value_shapes: list[list[int]],
        value_mask: Tensor | None = None,
    ) -> Tensor:
        return self.output_proj(sample(self, query, refer_bbox, value, torch.tensor(value_shapes), value_mask))


class MultiScaleDeformableAttention(Projections):
    """Called as mmcv's and detrex's, with a residual."""

    def __init__(self, embed_dims: int, num_heads: int, num_levels: int, num_points: int, batch_first: bool) -> None:
        super().__init__(embed_dims, num_heads, num_levels, num_points)
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.batch_first = batch_first
        self.dropout = nn.Dropout(0.0)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        assert reference_points is not None
        assert spatial_shapes is not None
        value = query if value is None else value
        residual = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.permute(1, 0, 2), value.permute(1, 0, 2)
        out = self.output_proj(sample(self, query, reference_points, value, spatial_shapes, key_padding_mask))
        out = out if self.batch_first else out.permute(1, 0, 2)
        return self.dropout(out) + residual


class DecoderLayer(nn.Module):
    """A layer with the original decoder's parameter names."""

    def __init__(self, width: int, feedforward: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.cross_attn = MSDeformAttn(width, levels, heads, points)
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, tgt: Tensor, query_pos: Tensor, points: Tensor, src: Tensor, shapes: Tensor, starts: Tensor, padding: Any
    ) -> Tensor:
        with_position = (tgt + query_pos).transpose(0, 1)
        mixed = self.self_attn(with_position, with_position, tgt.transpose(0, 1))[0].transpose(0, 1)
        tgt = self.norm2(tgt + mixed)
        tgt = self.norm1(tgt + self.cross_attn(tgt + query_pos, points, src, shapes, starts, padding))
        return self.norm3(tgt + self.linear2(self.linear1(tgt).relu()))


class DeformableTransformerDecoder(nn.Module):
    """Called as the original code's; returns what it returns."""

    def __init__(self, layers: int, **sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(**sizes) for _ in range(layers))
        self.bbox_embed = None
        self.class_embed = None

    def forward(
        self,
        tgt: Tensor,
        reference_points: Tensor,
        src: Tensor,
        src_spatial_shapes: Tensor,
        src_level_start_index: Tensor,
        src_valid_ratios: Tensor,
        query_pos: Tensor | None = None,
        src_padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        assert query_pos is not None
        outputs = []
        for layer in self.layers:
            points = reference_points[:, :, None] * src_valid_ratios[:, None]
            tgt = layer(tgt, query_pos, points, src, src_spatial_shapes, src_level_start_index, src_padding_mask)
            outputs.append(tgt)
        return torch.stack(outputs), torch.stack([reference_points] * len(outputs))
