"""The deformable attention module, a replacement for Deformable DETR's ``MSDeformAttn``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dsct import _dsct
from dsct.modules.block import Block
from dsct.ops import check_level_start_index, level_shapes


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
            ValueError: Shapes that do not fit, by name.
        """
        shapes = level_shapes(input_spatial_shapes, "MSDeformAttn")
        check_level_start_index(input_level_start_index, shapes, "MSDeformAttn")
        if len(shapes) != self.n_levels:
            raise ValueError(f"MSDeformAttn: input_spatial_shapes must have {self.n_levels} levels, got {len(shapes)}")
        return _dsct.ms_deform_attn_module(
            self.n_heads, self.n_points, self.tensors(), query, reference_points, input_flatten, shapes,
            input_padding_mask,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """For ``print(module)``."""
        return f"d_model={self.d_model}, n_levels={self.n_levels}, n_heads={self.n_heads}, n_points={self.n_points}"


def initialize_transformer(module: nn.Module) -> None:
    """Xavier for every matrix, then deformable attention's own initialisation."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for child in module.modules():
        if isinstance(child, MSDeformAttn):
            child.reset_parameters()
