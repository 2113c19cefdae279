"""Operators that exist only in torch and dsct, expressed with operators that every runtime has.

Each function computes what the operator of the same name does; ``ExportedProgram.run_decompositions`` substitutes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from dsct.modules.ms_deform_attn import level_sizes

Table = dict[torch._ops.OperatorBase, Callable[..., Any]]

_OUTSIDE = 3.0  # of a map from -1 to 1, farther than the cell beside one that is a single cell wide


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
        torch.ops.aten.scatter_add.default: scatter_add,
        torch.ops.aten.linalg_vector_norm.default: vector_norm,
    }


def ms_deform_attn(
    value: Tensor, spatial_shapes: Sequence[int], sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """One ``grid_sample`` per level: value (B, S, M, D) -> (B, Q, M · D).

    Runtimes differ in what they read at a point that is not finite or far away, as those that a mask with padding in
    the first row or column makes; the operator counts it as outside, and so does a fixed point outside.
    """
    batch, _, heads, channels = value.shape
    queries, levels, points = sampling_locations.shape[1], *sampling_locations.shape[3:5]
    places = (2 * sampling_locations - 1).to(value.dtype)
    near = places.abs() < _OUTSIDE  # not NaN
    grids = torch.where(near, places, _OUTSIDE).permute(3, 0, 2, 1, 4, 5)  # (L, B, M, Q, P, 2)
    sizes = [(spatial_shapes[2 * level], spatial_shapes[2 * level + 1]) for level in range(levels)]
    starts = [0, *itertools.accumulate(height * width for height, width in sizes)]
    maps = [value[:, start:end].permute(0, 2, 3, 1) for start, end in itertools.pairwise(starts)]
    sampled = [
        grid_sample(
            map_.reshape(batch * heads, channels, height, width),
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
    """A stable sort by ranks, of which no two are equal: runtimes order equal numbers each in their own way.

    The ranks are counted, which takes n² comparisons.
    """
    row = x.movedim(dim, -1)
    one, other = row[..., :, None], row[..., None, :]
    index = torch.arange(row.shape[-1], device=x.device)
    better = other > one if descending else other < one
    rank = (better | ((other == one) & (index < index[:, None]))).to(torch.float32).sum(dim=-1)
    order = rank.topk(row.shape[-1], largest=False).indices
    return row.gather(-1, order).movedim(-1, dim), order.movedim(-1, dim)


def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A product with a one-hot matrix; `index` must have the size of `x` in all dimensions but `dim`."""
    cells = torch.arange(x.shape[dim], device=x.device)
    hot = (index.movedim(dim, -1)[..., None] == cells).to(src.dtype)
    return x + (src.movedim(dim, -1)[..., None] * hot).sum(dim=-2).movedim(-1, dim)


def vector_norm(
    x: Tensor, ord: float = 2, dim: Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The Euclidean norm by its formula; other norms stay as they are."""
    if ord != 2 or dim is None or dtype is not None:
        return NotImplemented
    return x.square().sum(dim=list(dim), keepdim=keepdim).sqrt()
