"""One call of either operator, and what is refused of it: the Python form of ``deform_attn_checks.h``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: The dtypes that there are kernels for, with their codes there (``DsctDType``).
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float64: 3}
#: As torch calls them in its errors.
_NAMES = {
    torch.float32: "Float", torch.float16: "Half", torch.bfloat16: "BFloat16", torch.float64: "Double",
    torch.int64: "Long", torch.int32: "Int", torch.bool: "Bool",
}  # fmt: skip

Mask = tuple[bool, bool, bool, bool]
Four = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""Something of value, reference, points and weights, in this order."""


class Arguments(NamedTuple):
    """Of ``ms_deform_attn`` or, where there is a reference, of ``ms_deform_attn_fused``.

    Attributes:
        value: (B, S, M, D).
        shapes: height and width of each of the L levels, in one list; may be symbolic.
        reference: (B, Q, L, 2 or 4), or None.
        points: (B, Q, M, L, P, 2), sampling locations, or offsets from the reference.
        weights: (B, Q, M, L, P), attention weights, or their logits.
    """

    value: Tensor
    shapes: Sequence[int]
    reference: Tensor | None
    points: Tensor
    weights: Tensor

    @property
    def name(self) -> str:
        return "ms_deform_attn" if self.reference is None else "ms_deform_attn_fused"

    @property
    def arithmetic(self) -> torch.dtype:
        return arithmetic_dtype(self.value)

    @property
    def tensors(self) -> Four:
        return self.value, self.reference, self.points, self.weights

    def with_tensors(self, tensors: Sequence[Any]) -> Arguments:
        """The same call on other tensors, in the order of :attr:`tensors`."""
        value, reference, points, weights = tensors
        return Arguments(value, self.shapes, reference, points, weights)


def arithmetic_dtype(value: Tensor) -> torch.dtype:
    """Half types compute in float32."""
    return torch.float64 if value.dtype == torch.float64 else torch.float32


def check_arguments(a: Arguments) -> None:
    """Every way in passes here before memory is touched.

    Raises:
        ValueError: shapes, devices or level sizes do not fit.
        TypeError: a dtype is not supported.
    """
    op, (value, shapes, reference, points, weights) = a.name, a
    points_name, weights_name = (
        ("sampling_locations", "attention_weights") if reference is None else ("sampling_offsets", "logits")
    )
    _check_points(op, value, shapes, points_name, points, weights_name, weights)
    check_dtype(op, "value", value)
    if reference is not None:
        _check_reference(op, reference, points)
        _check_like_value(op, value, "reference_points", reference)
    _check_like_value(op, value, points_name, points)
    _check_like_value(op, value, weights_name, weights)
    _check_levels(op, value.shape[1], shapes)


def check_grad_output(grad_output: Tensor, a: Arguments) -> None:
    """The first argument of a backward operator, whose others have passed.

    Raises:
        ValueError: its shape or device does not fit.
        TypeError: its numbers are not floating point.
    """
    op, value = f"{a.name}_backward", a.value
    want = (value.shape[0], a.points.shape[1], value.shape[2] * value.shape[3])
    if tuple(grad_output.shape) != want:
        raise ValueError(f"{op}: grad_output must be (B, Q, M*D) = {want}, got {list(grad_output.shape)}")
    if not grad_output.is_floating_point():
        raise TypeError(f"{op}: grad_output must be floating point, got {dtype_name(grad_output.dtype)}")
    if grad_output.device != value.device:
        raise ValueError(f"{op}: grad_output must be on {value.device} like value, got {grad_output.device}")


def dtype_name(dtype: torch.dtype) -> str:
    """As torch calls it in its errors."""
    return _NAMES.get(dtype, str(dtype))


def check_dtype(op: str, name: str, tensor: Tensor) -> None:
    """Raises a TypeError unless there are kernels for the dtype."""
    if tensor.dtype not in DTYPES:
        raise TypeError(f"{op}: {name} must be float32, float64, float16 or bfloat16, got {dtype_name(tensor.dtype)}")


def _check_like_value(op: str, value: Tensor, name: str, tensor: Tensor) -> None:
    """The device of value, and its dtype or its arithmetic type."""
    arithmetic = arithmetic_dtype(value)
    if tensor.dtype not in (value.dtype, arithmetic):
        also = "" if value.dtype == arithmetic else " or Float"
        raise TypeError(
            f"{op}: {name} must be {dtype_name(value.dtype)} like value{also}, got {dtype_name(tensor.dtype)}"
        )
    if tensor.device != value.device:
        raise ValueError(f"{op}: {name} must be on {value.device} like value, got {tensor.device}")


def _check_points(
    op: str, value: Tensor, shapes: Sequence[int], points_name: str, points: Tensor, weights_name: str, weights: Tensor
) -> None:
    size, of_weights = points.shape, weights.shape
    if value.dim() != 4:
        raise ValueError(f"{op}: value must be (B, S, M, D), got {list(value.shape)}")
    if len(size) != 6 or size[5] != 2:
        raise ValueError(f"{op}: {points_name} must be (B, Q, M, L, P, 2), got {list(size)}")
    if size[0] != value.shape[0] or size[2] != value.shape[2]:
        raise ValueError(
            f"{op}: {points_name} must have B = {value.shape[0]} and M = {value.shape[2]} like value, got {list(size)}"
        )
    if of_weights != size[:5]:
        raise ValueError(
            f"{op}: {weights_name} must be (B, Q, M, L, P) = {list(size[:5])} like {points_name}, got "
            f"{list(of_weights)}"
        )
    if size[3] * 2 != len(shapes):
        raise ValueError(
            f"{op}: spatial_shapes must hold a (height, width) pair for each of the {size[3]} levels of "
            f"{points_name}, got {len(shapes)} numbers"
        )


def _check_reference(op: str, reference: Tensor, points: Tensor) -> None:
    b, q, _, l = points.shape[:4]  # noqa: E741
    size = reference.shape
    if len(size) != 4 or size[:3] != (b, q, l) or not (size[3] == 2 or size[3] == 4):
        raise ValueError(
            f"{op}: reference_points must be (B, Q, L, 2 or 4) = ({b}, {q}, {l}, 2 or 4), got {list(size)}"
        )


def _check_levels(op: str, cells: int, shapes: Sequence[int]) -> None:
    total = 0
    for level in range(len(shapes) // 2):
        h, w = shapes[2 * level], shapes[2 * level + 1]
        if not (h >= 1 and w >= 1):
            raise ValueError(
                f"{op}: spatial_shapes must hold positive (height, width) pairs, got ({h}, {w}) for level {level}"
            )
        if not (h <= cells and w <= cells // h):
            raise ValueError(f"{op}: spatial_shapes level {level} is ({h}, {w}), more than the {cells} cells of value")
        total = total + h * w
        if not total <= cells:
            raise ValueError(f"{op}: spatial_shapes cover more than the {cells} cells of value")
    if total != cells:
        raise ValueError(f"{op}: spatial_shapes cover {total} cells, value has {cells}")
