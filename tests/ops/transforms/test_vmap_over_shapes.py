"""Sizes of maps decide what is computed: under ``vmap`` they are the same for all calls; a batch of them is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

import dsct
from dsct.modules import MSDeformAttn

#: Of torch itself, where it imports its formulas of tangents.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

SHAPES, STARTS = torch.tensor([[4, 6], [2, 3]]), torch.tensor([0, 24])
VALUE, LOCATIONS, WEIGHTS = torch.rand(2, 30, 2, 4), torch.rand(2, 3, 2, 2, 4, 2), torch.rand(2, 3, 2, 2, 4)
REFERENCE = torch.rand(2, 3, 2, 2)
VALUES, BATCH, STARTS_TOO = VALUE.expand(3, 2, 30, 2, 4), SHAPES.expand(3, 2, 2), STARTS.expand(3, 2)


def plain(value: Tensor, shapes: Any = SHAPES, starts: Any = None) -> Tensor:
    return dsct.ops.ms_deform_attn(value, shapes, starts, LOCATIONS, WEIGHTS)


def fused(value: Tensor, shapes: Any = SHAPES) -> Tensor:
    return dsct.ops.ms_deform_attn_fused(value, shapes, REFERENCE, LOCATIONS, WEIGHTS)


def module(value: Tensor, shapes: Any = SHAPES) -> Tensor:
    attention = MSDeformAttn(8, 2, 2, 4)
    return attention(torch.rand(2, 3, 8), REFERENCE, value.flatten(2), shapes, STARTS)


def total(value: Tensor, shapes: Any) -> Tensor:
    return plain(value, shapes).sum()


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "plain": (lambda: vmap(plain)(VALUES, BATCH), "ms_deform_attn: spatial_shapes"),
    "fused": (lambda: vmap(fused)(VALUES, BATCH), "ms_deform_attn_fused: spatial_shapes"),
    "module": (lambda: vmap(module, randomness="same")(VALUES, BATCH), "MSDeformAttn: spatial_shapes"),
    "pairs": (
        lambda: vmap(lambda value, shapes: plain(value, [(shapes[0, 0], shapes[0, 1]), (2, 3)]))(VALUES, BATCH),
        "ms_deform_attn: spatial_shapes",
    ),
    "starts": (
        lambda: vmap(lambda value, starts: plain(value, SHAPES, starts))(VALUES, STARTS_TOO),
        "ms_deform_attn: level_start_index",
    ),
    "list of starts": (
        lambda: vmap(lambda value, starts: plain(value, SHAPES, [0, starts[1]]))(VALUES, STARTS_TOO),
        "ms_deform_attn: level_start_index",
    ),
    "only shapes": (lambda: vmap(lambda shapes: plain(VALUE, shapes))(BATCH), "ms_deform_attn: spatial_shapes"),
    "twice": (
        lambda: vmap(lambda shapes: vmap(lambda value: plain(value, shapes))(VALUES))(BATCH),
        "ms_deform_attn: spatial_shapes",
    ),
    "gradients": (lambda: vmap(grad(total))(VALUES, BATCH), "ms_deform_attn: spatial_shapes"),
    "gradient of all": (
        lambda: grad(lambda values: vmap(total)(values, BATCH).sum())(VALUES.clone()),
        "ms_deform_attn: spatial_shapes",
    ),
    "tangents": (
        lambda: vmap(lambda value, shapes: jvp(lambda one: plain(one, shapes), (value,), (value,)))(VALUES, BATCH),
        "ms_deform_attn: spatial_shapes",
    ),
}


@pytest.mark.parametrize(("call", "what"), CASES.values(), ids=CASES.keys())
def test_a_batch_of_shapes_is_named(call: Callable[[], object], what: str) -> None:
    with pytest.raises(ValueError, match=f"^{what} must be the same for all calls of vmap, got a batch: "):
        call()


def test_what_is_the_same_for_all_calls_may_be_a_tensor() -> None:
    expected = plain(VALUE, SHAPES, STARTS).expand(3, 2, 3, 8)
    assert torch.equal(vmap(plain, (0, None, None))(VALUES, SHAPES, STARTS), expected)
    assert torch.equal(vmap(grad(total), (0, None))(VALUES, SHAPES)[0], grad(total)(VALUE, SHAPES))


def test_other_errors_of_torch_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        plain(VALUE, SHAPES.to("meta"))
