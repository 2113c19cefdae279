"""Every argument of the fused operator that does not fit gives an error that names it, on every way in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.ops.test_deform_attn import LEVELS, flat
from tests.ops.test_deform_attn_fused import BACKWARD, FUSED, Four, inputs

Arguments = tuple[Tensor, list[int], Tensor, Tensor, Tensor]
HUGE = 2**62


def levels(*sizes: int) -> Callable[..., Arguments]:
    return lambda v, s, r, o, a: (v, list(sizes), r, o, a)


VALUE = {
    "value rank": (lambda v, s, r, o, a: (v[0], s, r, o, a), r"value must be \(B, S, M, D\), got \[19, 2, 4\]"),
    "offsets rank": (lambda v, s, r, o, a: (v, s, r, o[0], a), r"sampling_offsets must be \(B, Q, M, L, P, 2\), got"),
    "offsets last": (lambda v, s, r, o, a: (v, s, r, o[..., :1], a), r"sampling_offsets must be \(B, Q, M, L, P, 2\)"),
    "offsets batch": (lambda v, s, r, o, a: (v, s, r, o[:1], a[:1]), "sampling_offsets must have B = 2 and M = 2"),
    "offsets heads": (lambda v, s, r, o, a: (v, s, r, o[:, :, :1], a), "sampling_offsets must have B = 2 and M = 2"),
    "logits rank": (lambda v, s, r, o, a: (v, s, r, o, a[..., None]), r"logits must be \(B, Q, M, L, P\) ="),
    "logits queries": (lambda v, s, r, o, a: (v, s, r, o, a[:, :2]), r"= \[2, 3, 2, 3, 2\] like sampling_offsets, got"),
    "logits points": (lambda v, s, r, o, a: (v, s, r, o, a[..., :1]), r"logits must be \(B, Q, M, L, P\) ="),
    "number of levels": (levels(4, 3, 2, 3), "pair for each of the 3 levels of sampling_offsets, got 4 numbers"),
    "odd number of sizes": (levels(4, 3, 2, 3, 1), "pair for each of the 3 levels of sampling_offsets, got 5 numbers"),
    "reference rank": (lambda v, s, r, o, a: (v, s, r[0], o, a), r"reference_points must be \(B, Q, L, 2 or 4\) ="),
    "reference batch": (lambda v, s, r, o, a: (v, s, r[:1], o, a), r"= \(2, 3, 3, 2 or 4\), got \[1, 3, 3, 4\]"),
    "reference queries": (lambda v, s, r, o, a: (v, s, r[:, :2], o, a), r"reference_points must .* got \[2, 2, 3, 4\]"),
    "reference levels": (
        lambda v, s, r, o, a: (v, s, r[:, :, :1], o, a),
        r"reference_points must .* got \[2, 3, 1, 4\]",
    ),
    "reference last": (lambda v, s, r, o, a: (v, s, r[..., :3], o, a), r"reference_points must .* got \[2, 3, 3, 3\]"),
    "reference device": (
        lambda v, s, r, o, a: (v, s, r.to("meta"), o, a),
        "reference_points must be on cpu like value",
    ),
    "offsets device": (lambda v, s, r, o, a: (v, s, r, o.to("meta"), a), "sampling_offsets must be on cpu like value"),
    "logits device": (lambda v, s, r, o, a: (v, s, r, o, a.to("meta")), "logits must be on cpu like value, got meta"),
    "no height": (levels(4, 3, 0, 3, 7, 1), r"positive \(height, width\) pairs, got \(0, 3\) for level 1"),
    "negative width": (levels(4, 3, 2, 3, 1, -1), r"positive \(height, width\) pairs, got \(1, -1\) for level 2"),
    "large level": (levels(HUGE, HUGE, 2, 3, 1, 1), "spatial_shapes level 0 is .*, more than the 19 cells of value"),
    "many cells": (levels(4, 3, 2, 3, 1, 2), "spatial_shapes cover more than the 19 cells of value"),
    "few cells": (levels(4, 3, 2, 2, 1, 1), "spatial_shapes cover 17 cells, value has 19"),
}
TYPE = {
    "integer value": (lambda v, s, r, o, a: (v.long(), s, r, o, a), "value must be float32, float64, float16 or bfl"),
    "reference of float64": (lambda v, s, r, o, a: (v, s, r.float(), o, a), "reference_points must be Double like val"),
    "offsets of half": (lambda v, s, r, o, a: (v.half(), s, r.half(), o.bfloat16(), a.half()), "offsets must be Half"),
    "logits of double": (
        lambda v, s, r, o, a: (v.bfloat16(), s, r.float(), o.float(), a),
        "logits must be BFloat16 like value or Float, got Double",
    ),
}
BAD = {**{k: (*v, ValueError) for k, v in VALUE.items()}, **{k: (*v, TypeError) for k, v in TYPE.items()}}
each_bad_input = pytest.mark.parametrize(("change", "message", "error"), BAD.values(), ids=BAD.keys())


@each_bad_input
def test_refuses_bad_input(change: Callable[..., Arguments], message: str, error: type[Exception]) -> None:
    value, *others = inputs(4)
    with pytest.raises(error, match=f"ms_deform_attn_fused: .*{message}"):
        FUSED(*change(value, flat(LEVELS), *others))


@each_bad_input
def test_backward_refuses_bad_input(change: Callable[..., Arguments], message: str, error: type[Exception]) -> None:
    value, *others = inputs(4)
    with pytest.raises(error, match=message):
        BACKWARD(value.new_zeros(2, 3, 8), *change(value, flat(LEVELS), *others), [True] * 4)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 2, 8), (1, 3, 8), (2, 24)], ids=str)
def test_backward_refuses_a_gradient_of_another_shape(shape: tuple[int, ...], device: str) -> None:
    value, *others = (t.to(device) for t in inputs())
    with pytest.raises(ValueError, match=r"fused_backward: grad_output must be \(B, Q, M\*D\) = \(2, 3, 8\), got"):
        BACKWARD(value.new_zeros(shape), value, flat(LEVELS), *others, [True] * 4)


def test_backward_refuses_a_gradient_of_another_device() -> None:
    value, *others = inputs()
    with pytest.raises(ValueError, match="fused_backward: grad_output must be on cpu like value, got meta"):
        BACKWARD(torch.zeros(2, 3, 8, device="meta"), value, flat(LEVELS), *others, [True] * 4)


@pytest.mark.parametrize("name", ["reference rank", "logits points", "few cells"])
def test_refuses_without_data_too(name: str) -> None:
    change, message, error = BAD[name]
    tensors: Four = tuple(t.to("meta") for t in inputs(4))
    with pytest.raises(error, match=message):
        FUSED(*change(tensors[0], flat(LEVELS), *tensors[1:]))
