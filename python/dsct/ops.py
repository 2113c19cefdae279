"""The deformable attention operator, with the call that Deformable DETR users know."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from dsct import _dsct  # noqa: F401  (registers torch.ops.dsct)

Shapes = list[tuple[int, int]]


def level_shapes(spatial_shapes: Tensor | Sequence[Sequence[int]], op: str = "ms_deform_attn") -> Shapes:
    """(height, width) of each level as plain numbers.

    Args:
        spatial_shapes: (L, 2) integer tensor, or L pairs. A tensor on a GPU costs a synchronisation.
        op: name for the error message.

    Raises:
        ValueError: Not L pairs.
        TypeError: Not whole numbers.
    """
    if isinstance(spatial_shapes, Tensor):
        if spatial_shapes.is_floating_point() or spatial_shapes.dtype == torch.bool:
            raise TypeError(f"{op}: spatial_shapes must hold integers, got {spatial_shapes.dtype}")
        pairs = spatial_shapes.tolist()
    else:
        pairs = [list(pair) if isinstance(pair, (list, tuple, torch.Size)) else pair for pair in spatial_shapes]
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{op}: spatial_shapes must be L pairs (height, width), got {spatial_shapes}")
    try:
        return [(operator.index(pair[0]), operator.index(pair[1])) for pair in pairs]
    except TypeError as error:
        raise TypeError(f"{op}: spatial_shapes must hold integers, got {spatial_shapes}") from error


def level_starts(shapes: Shapes) -> list[int]:
    """Index of the first cell of each level among the S cells."""
    starts = [0]
    for height, width in shapes[:-1]:
        starts.append(starts[-1] + height * width)
    return starts[: len(shapes)]


def check_level_start_index(level_start_index: Tensor | Sequence[int] | None, shapes: Shapes, op: str) -> None:
    """Levels lie one after another; anything else would be silently wrong.

    Raises:
        ValueError: ``level_start_index`` differs from the starts that ``shapes`` imply.
    """
    if level_start_index is None:
        return
    given = level_start_index.tolist() if isinstance(level_start_index, Tensor) else list(level_start_index)
    if given != level_starts(shapes):
        raise ValueError(f"{op}: level_start_index must be {level_starts(shapes)}, got {given}")


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor | Sequence[Sequence[int]],
    level_start_index: Tensor | Sequence[int] | None,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Multi-scale deformable attention (Deformable DETR, Eq. 3).

    Bilinear interpolation, zeros outside, ``align_corners=False``; differentiable twice. Shape letters: B images,
    S cells over all levels, M heads, D channels per head, Q queries, L levels, P points.

    Args:
        value: (B, S, M, D), float32, float64, float16 or bfloat16. Half types compute in float32.
        spatial_shapes: (L, 2) int64 tensor or list of (height, width), Σ height · width = S.
        level_start_index: (L,), implied by ``spatial_shapes`` and checked against it; None is allowed.
        sampling_locations: (B, Q, M, L, P, 2) as (x, y) in [0, 1]; in the dtype of ``value``, or float32 beside a
            half-precision value.
        attention_weights: (B, Q, M, L, P), same dtypes; need not sum to 1.

    Returns:
        (B, Q, M · D) in the dtype of ``value``.

    Raises:
        ValueError: Shapes, devices or level sizes that do not fit.
        TypeError: Not a tensor, or a dtype that is not supported.

    Example:
        >>> import torch, dsct
        >>> value = torch.randn(1, 4 * 6, 2, 8)
        >>> dsct.ops.ms_deform_attn(value, [(4, 6)], [0], torch.rand(1, 3, 2, 1, 4, 2), torch.rand(1, 3, 2, 1, 4)).shape
        torch.Size([1, 3, 16])
    """
    named = (("value", value), ("sampling_locations", sampling_locations), ("attention_weights", attention_weights))
    for name, tensor in named:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"ms_deform_attn: {name} must be a torch.Tensor, got {type(tensor).__name__}")
    shapes = level_shapes(spatial_shapes)
    check_level_start_index(level_start_index, shapes, "ms_deform_attn")
    flat = [size for pair in shapes for size in pair]
    out: Tensor = torch.ops.dsct.ms_deform_attn(value, flat, sampling_locations, attention_weights)
    return out
