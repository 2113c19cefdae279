"""The deformable attention module, a replacement for Deformable DETR's ``MSDeformAttn``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.modules.block import Block, coordinate_dtype, pair
from dsct.ops import Shapes, check_level_start_index, flat_sizes, level_shapes


class Memory(NamedTuple):
    """What deformable attention samples: the levels of the images, one after another.

    Attributes:
        src: (B, S, E).
        spatial_shapes: (height, width) of each level.
        padding_mask: (B, S) bool, True = padding, whose values are zeroed.
    """

    src: Tensor
    spatial_shapes: Shapes
    padding_mask: Tensor | None


class MSDeformAttn(Block):
    """Multi-scale deformable attention with its four projections (Deformable DETR, Eq. 3).

    Args:
        d_model: E, divisible by ``n_heads``.
        n_levels: L.
        n_heads: M.
        n_points: P per level and head.

    Raises:
        ValueError: ``d_model`` is not divisible by ``n_heads``.

    Example:
        >>> import torch, dsct
        >>> attention = dsct.MSDeformAttn(d_model=32, n_levels=1, n_heads=4, n_points=2)
        >>> query, src = torch.randn(1, 5, 32), torch.randn(1, 12, 32)
        >>> attention(query, torch.rand(1, 5, 1, 2), src, torch.tensor([[3, 4]]), torch.tensor([0])).shape
        torch.Size([1, 5, 32])
    """

    def __init__(self, d_model: int = 256, n_levels: int = 4, n_heads: int = 8, n_points: int = 4) -> None:
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"MSDeformAttn: d_model must be divisible by n_heads = {n_heads}, got {d_model}")
        self.d_model, self.n_levels, self.n_heads, self.n_points = d_model, n_levels, n_heads, n_points
        samples = n_heads * n_levels * n_points
        self.sampling_offsets = nn.Linear(d_model, samples * 2)
        self.attention_weights = nn.Linear(d_model, samples)
        self.value_proj = nn.Linear(d_model, d_model)
        self.output_proj = nn.Linear(d_model, d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each head looks along its own direction, point p at distance p + 1; attention is uniform."""
        angle = torch.arange(self.n_heads, dtype=torch.float32) * (2.0 * math.pi / self.n_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.n_points + 1, dtype=torch.float32)
        grid = direction[:, None, None, :] * steps[None, None, :, None]
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(grid.expand(-1, self.n_levels, -1, -1).reshape(-1))
            self.attention_weights.weight.zero_()
            for projection in (self.attention_weights, self.value_proj, self.output_proj):
                projection.bias.zero_()
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.xavier_uniform_(self.output_proj.weight)

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        input_flatten: Tensor,
        input_spatial_shapes: Tensor | Sequence[Sequence[int]],
        input_level_start_index: Tensor | Sequence[int] | None,
        input_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Samples around reference points.

        Args:
            query: (B, Q, E).
            reference_points: (B, Q, L, 2) as (x, y), or (B, Q, L, 4) as (cx, cy, w, h), in [0, 1] of the padded maps.
            input_flatten: (B, S, E).
            input_spatial_shapes: (L, 2) as (height, width).
            input_level_start_index: (L,).
            input_padding_mask: (B, S) bool, True = padding; those values are zeroed.

        Returns:
            (B, Q, E).

        Raises:
            ValueError: shapes do not fit; the message names the argument.
        """
        shapes = level_shapes(input_spatial_shapes, "MSDeformAttn")
        check_level_start_index(input_level_start_index, shapes, "MSDeformAttn")
        if len(shapes) != self.n_levels:
            raise ValueError(f"MSDeformAttn: input_spatial_shapes must have {self.n_levels} levels, got {len(shapes)}")
        return self.attend(query, reference_points, Memory(input_flatten, shapes, input_padding_mask))

    def _native(self, query: Tensor, reference_points: Tensor, memory: Memory) -> Tensor:
        own = (self.n_heads, self.n_points, self.tensors())
        return _dsct.ms_deform_attn_module(*own, query, reference_points, memory)

    @pair(native=_native)
    def attend(self, query: Tensor, reference_points: Tensor, memory: Memory) -> Tensor:
        """:meth:`forward` on levels that have been checked."""
        value = self.value_proj(memory.src)
        if memory.padding_mask is not None:
            value = value.masked_fill(memory.padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.n_heads, -1))
        offsets, logits = self._project(query)
        reference = reference_points.to(coordinate_dtype(query.dtype)).expand(*query.shape[:2], -1, -1)
        shapes = flat_sizes(memory.spatial_shapes)
        out = torch.ops.dsct.ms_deform_attn_fused(value, shapes, reference, offsets, logits)
        return self.output_proj(out)  # type: ignore[no-any-return]

    def sampling_points(self, query: Tensor, reference_points: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Where the composite samples, and how much each point counts.

        Args:
            query: (B, Q, E).
            reference_points: (B, Q, L, 2) as (x, y).
            shapes: (height, width) of each level.

        Returns:
            Locations (B, Q, M, L, P, 2) in [0, 1] of the padded maps and weights (B, Q, M, L, P), at least float32.
        """
        offsets, logits = self._project(query)
        dtype = coordinate_dtype(query.dtype)
        weights = logits.flatten(3).softmax(dim=-1, dtype=dtype).view_as(logits)
        steps = offsets.to(dtype) / level_sizes(shapes, query.new_ones((), dtype=dtype))
        return reference_points.to(dtype)[:, :, None, :, None] + steps, weights

    def _project(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (B, Q, M, L, P, 2) and logits (B, Q, M, L, P)."""
        samples = (self.n_heads, self.n_levels, self.n_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*samples, 2))
        return offsets, self.attention_weights(query).unflatten(-1, samples)

    def extra_repr(self) -> str:
        """For ``print(module)``."""
        return f"d_model={self.d_model}, n_levels={self.n_levels}, n_heads={self.n_heads}, n_points={self.n_points}"


def level_sizes(shapes: Shapes, one: Tensor) -> Tensor:
    """(L, 1, 2) as (width, height) in the dtype and on the device of `one`; sizes may be symbolic."""
    return torch.stack([one * size for height, width in shapes for size in (width, height)]).reshape(-1, 1, 2)


@pair(native=_dsct.encoder_reference_points)
def encoder_reference_points(spatial_shapes: Shapes, valid_ratios: Tensor) -> Tensor:
    """Centres of the cells, seen in every level: (B or 1, L, 2) as (width, height) -> (B or 1, S, L, 2) as (x, y)."""
    points = []
    for (height, width), ratio in zip(spatial_shapes, valid_ratios.unbind(1), strict=True):
        y, x = ((torch.arange(size, dtype=ratio.dtype, device=ratio.device) + 0.5) / size for size in (height, width))
        cells = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=-1)
        points.append(cells.flatten(0, 1) / ratio[:, None])
    return torch.cat(points, dim=1)[:, :, None] * valid_ratios[:, None]


def initialize_transformer(module: nn.Module) -> None:
    """Xavier for every matrix, then deformable attention's own initialisation."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for child in module.modules():
        if isinstance(child, MSDeformAttn):
            child.reset_parameters()
