"""Operators that exist only in torch and dsct, expressed with operators that every runtime has.

Each function computes what the operator of the same name does; ``ExportedProgram.run_decompositions`` substitutes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from dsct.modules.ms_deform_attn import level_sizes

Table = dict[torch._ops.OperatorBase, Callable[..., Any]]


def standard_operators() -> Table:
    """A table for ``run_decompositions``: deformable attention with ``grid_sample``, a stable sort with ``topk``.

    For programs that call ``torch.ops.dsct`` without being a whole model.

    Example:
        >>> import torch, dsct
        >>> given = torch.rand(1, 24, 2, 8), [4, 6], torch.rand(1, 3, 2, 1, 4, 2), torch.rand(1, 3, 2, 1, 4)
        >>> operator = torch.ops.dsct.ms_deform_attn.default
        >>> torch.allclose(standard_operators()[operator](*given), operator(*given), atol=1e-6)
        True
    """
    return {
        torch.ops.dsct.ms_deform_attn.default: ms_deform_attn,
        torch.ops.dsct.ms_deform_attn_fused.default: ms_deform_attn_fused,
        torch.ops.aten.sort.stable: sort,
    }


def ms_deform_attn(
    value: Tensor, spatial_shapes: Sequence[int], sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """One ``grid_sample`` per level: value (B, S, M, D) -> (B, Q, M · D)."""
    batch, _, heads, channels = value.shape
    queries, levels, points = sampling_locations.shape[1], *sampling_locations.shape[3:5]
    grids = (2 * sampling_locations - 1).to(value.dtype).permute(3, 0, 2, 1, 4, 5)  # (L, B, M, Q, P, 2)
    sizes = [(spatial_shapes[2 * level], spatial_shapes[2 * level + 1]) for level in range(levels)]
    maps = torch.split(value, [height * width for height, width in sizes], dim=1)
    sampled = [
        grid_sample(
            map_.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width),
            grid.reshape(batch * heads, queries, points, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        for map_, (height, width), grid in zip(maps, sizes, grids.unbind(), strict=True)
    ]
    weights = attention_weights.to(value.dtype).transpose(1, 2).reshape(batch * heads, 1, queries, levels * points)
    out = (torch.cat(sampled, dim=-1) * weights).sum(dim=-1)  # (B · M, D, Q)
    return out.reshape(batch, heads * channels, queries).transpose(1, 2).contiguous()


def ms_deform_attn_fused(
    value: Tensor, spatial_shapes: Sequence[int], reference_points: Tensor, sampling_offsets: Tensor, logits: Tensor
) -> Tensor:
    """Softmax and sampling locations before :func:`ms_deform_attn`."""
    reference = reference_points[:, :, None, :, None]
    offsets = sampling_offsets.to(reference.dtype)
    if reference_points.shape[-1] == 2:
        shapes = list(zip(spatial_shapes[::2], spatial_shapes[1::2], strict=True))
        steps = offsets / level_sizes(shapes, reference.new_ones(()))
    else:
        steps = offsets / offsets.shape[-2] * reference[..., 2:] / 2
    weights = logits.flatten(3).softmax(dim=-1, dtype=reference.dtype).view_as(logits)
    return ms_deform_attn(value, spatial_shapes, reference[..., :2] + steps, weights)


def sort(x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Sorted values and their indices; runtimes whose TopK prefers the lower index, as ONNX has it, keep it stable."""
    return torch.topk(x, x.shape[dim], dim, largest=descending)
