"""Deformable attention: with the call of Deformable DETR, and fused with the operations before it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_batchedtensor, is_functorch_wrapped_tensor

try:
    import dsct._dsct as _dsct  # noqa: F401  (registers torch.ops.dsct)
except ImportError:  # it does not fit the torch that runs
    from dsct.any_torch import is_built, register

    if not is_built():
        raise
    register()

__all__ = ["ms_deform_attn", "ms_deform_attn_fused"]

Shapes = list[tuple[int, int]]


def level_shapes(spatial_shapes: Tensor | Sequence[Sequence[int]], op: str = "ms_deform_attn") -> Shapes:
    """(height, width) of each level as plain numbers.

    Args:
        spatial_shapes: (L, 2) integer tensor, or L pairs. A tensor on a GPU costs a synchronisation.
        op: name for the error message.

    Raises:
        ValueError: it is not L pairs, or a batch of several under ``vmap``.
        TypeError: they are not whole numbers.
    """
    if isinstance(spatial_shapes, Tensor):
        if spatial_shapes.is_floating_point() or spatial_shapes.dtype == torch.bool:
            raise TypeError(f"{op}: spatial_shapes must hold integers, got {spatial_shapes.dtype}")
        pairs = _listed(spatial_shapes, "spatial_shapes", op)
    else:
        pairs = [list(pair) if isinstance(pair, (list, tuple, torch.Size)) else pair for pair in spatial_shapes]
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{op}: spatial_shapes must be L pairs (height, width), got {spatial_shapes}")
    try:
        sizes = [(_integer(pair[0]), _integer(pair[1])) for pair in pairs]
    except TypeError as error:
        raise TypeError(f"{op}: spatial_shapes must hold integers, got {spatial_shapes}") from error
    except RuntimeError as error:
        raise _named(error, [size for pair in pairs for size in pair], "spatial_shapes", op) from error
    # Larger numbers do not fit into torch's own, nor into its error messages.
    if any(abs(size) >= 2**62 for pair in sizes for size in pair):
        raise ValueError(f"{op}: spatial_shapes must hold sizes of maps, got {spatial_shapes}")
    return sizes


def _listed(numbers: Tensor, name: str, op: str) -> list[Any]:
    try:
        return numbers.tolist()
    except RuntimeError as error:
        raise _named(error, [numbers], name, op) from error


def _named(error: RuntimeError, numbers: Sequence[object], name: str, op: str) -> Exception:
    """What to raise for numbers that torch could not read: in a batch of ``vmap`` they are several at once."""
    if not any(isinstance(number, Tensor) and _batched(number) for number in numbers):
        return error
    return ValueError(
        f"{op}: {name} must be the same for all calls of vmap, got a batch: give it in_dims=None, or one list for all"
    )


def _batched(tensor: Tensor) -> bool:
    """Whether one of the transforms of ``torch.func`` that a tensor is in is ``vmap``."""
    while is_functorch_wrapped_tensor(tensor):
        if is_batchedtensor(tensor):
            return True
        tensor = get_unwrapped(tensor)
    return False


def _integer(size: Any) -> int:
    """A whole number; a symbolic one stays symbolic."""
    return size if isinstance(size, torch.SymInt) else operator.index(size)  # type: ignore[return-value]


def level_starts(shapes: Shapes) -> list[int]:
    """Index of the first cell of each level among the S cells."""
    starts = [0]
    for height, width in shapes[:-1]:
        starts.append(starts[-1] + height * width)
    return starts[: len(shapes)]


def check_level_start_index(level_start_index: Tensor | Sequence[int] | None, shapes: Shapes, op: str) -> None:
    """Levels lie one after another; anything else would be silently wrong.

    Raises:
        ValueError: ``level_start_index`` differs from the starts that ``shapes`` imply, or is a batch under ``vmap``.
    """
    if level_start_index is None:
        return
    if isinstance(level_start_index, Tensor):
        given = _listed(level_start_index, "level_start_index", op)
    else:
        given = list(level_start_index)
    try:
        same = given == level_starts(shapes)
    except RuntimeError as error:
        raise _named(error, given, "level_start_index", op) from error
    if not same:
        raise ValueError(f"{op}: level_start_index must be {level_starts(shapes)}, got {given}")


def check_tensors(op: str, **arguments: object) -> None:
    """Torch at best names a parameter of its schema; this names the argument.

    Raises:
        TypeError: one of ``arguments`` is not a tensor.
    """
    for name, argument in arguments.items():
        if not isinstance(argument, Tensor):
            raise TypeError(f"{op}: {name} must be a torch.Tensor, got {type(argument).__name__}")


def flat_sizes(shapes: Shapes) -> list[int]:
    """Height and width of each level in one list, as the registered operators take them."""
    return [size for pair in shapes for size in pair]


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
        sampling_locations: (B, Q, M, L, P, 2) as (x, y) in [0, 1]; in the dtype of ``value``, or float32 with a
            half-precision value.
        attention_weights: (B, Q, M, L, P), same dtypes; need not sum to 1.

    Returns:
        (B, Q, M · D) in the dtype of ``value``.

    Raises:
        ValueError: shapes, devices or level sizes do not fit.
        TypeError: an argument is not a tensor, or a dtype is not supported.

    Example:
        >>> import torch, dsct
        >>> value = torch.randn(1, 4 * 6, 2, 8)
        >>> dsct.ops.ms_deform_attn(value, [(4, 6)], [0], torch.rand(1, 3, 2, 1, 4, 2), torch.rand(1, 3, 2, 1, 4)).shape
        torch.Size([1, 3, 16])
    """
    op = "ms_deform_attn"
    check_tensors(op, value=value, sampling_locations=sampling_locations, attention_weights=attention_weights)
    shapes = level_shapes(spatial_shapes, op)
    check_level_start_index(level_start_index, shapes, op)
    out: Tensor = torch.ops.dsct.ms_deform_attn(value, flat_sizes(shapes), sampling_locations, attention_weights)
    return out


def ms_deform_attn_fused(
    value: Tensor,
    spatial_shapes: Tensor | Sequence[Sequence[int]],
    reference_points: Tensor,
    sampling_offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """:func:`ms_deform_attn` on the outputs of the linear layers, without the tensors in between.

    The attention weights are the softmax of ``logits`` over the L · P points of a (query, head). The sampling
    locations (x, y), in [0, 1] inside a level of width W and height H, are

    * x = reference_x + offset_x / W, y = reference_y + offset_y / H for reference points (x, y): offsets count cells;
    * x = cx + offset_x / P · w / 2, y = cy + offset_y / P · h / 2 for reference boxes (cx, cy, w, h): offsets count
      parts of the box.

    Neither is stored, in the forward or the backward pass, which saves three of the numbers that the plain operator
    keeps for each point, and the memory traffic to write and read them. Differentiable twice; shape letters as
    in :func:`ms_deform_attn`.

    Args:
        value: (B, S, M, D), float32, float64, float16 or bfloat16. Half types compute in float32.
        spatial_shapes: (L, 2) int64 tensor or list of (height, width), Σ height · width = S.
        reference_points: (B, Q, L, 2) as (x, y) or (B, Q, L, 4) as (cx, cy, w, h), in [0, 1]; in the dtype of
            ``value``, or float32 with a half-precision value, as bfloat16 needs: it has 8 bits for a position.
        sampling_offsets: (B, Q, M, L, P, 2) as (x, y), same dtypes.
        logits: (B, Q, M, L, P), same dtypes.

    Returns:
        (B, Q, M · D) in the dtype of ``value``.

    Raises:
        ValueError: shapes, devices or level sizes do not fit.
        TypeError: an argument is not a tensor, or a dtype is not supported.

    Example:
        >>> import torch, dsct
        >>> value, reference = torch.randn(1, 4 * 6, 2, 8), torch.rand(1, 3, 1, 2)
        >>> offsets, logits = torch.randn(1, 3, 2, 1, 4, 2), torch.randn(1, 3, 2, 1, 4)
        >>> out = dsct.ops.ms_deform_attn_fused(value, [(4, 6)], reference, offsets, logits)
        >>> out.shape
        torch.Size([1, 3, 16])
        >>> locations = reference[:, :, None, :, None] + offsets / torch.tensor([6, 4])
        >>> weights = logits.flatten(3).softmax(-1).view_as(logits)
        >>> torch.allclose(out, dsct.ops.ms_deform_attn(value, [(4, 6)], None, locations, weights), atol=1e-5)
        True
    """
    op = "ms_deform_attn_fused"
    check_tensors(op, value=value, reference_points=reference_points, sampling_offsets=sampling_offsets, logits=logits)
    shapes = flat_sizes(level_shapes(spatial_shapes, op))
    out: Tensor = torch.ops.dsct.ms_deform_attn_fused(value, shapes, reference_points, sampling_offsets, logits)
    return out
