"""The operators under random input: an answer of the right shape or one clear Python error, whatever comes in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import dsct
from tests.ops.random_tensors import LAYOUTS, answered, cases, heights, sizes, specials, tensors

DEVICES = ("cpu", "cpu", "cpu", "cpu", "cpu", "cpu", "cpu", "meta")
KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
Call = tuple[Tensor, list[tuple[int, int]], Tensor, Tensor, Tensor, Tensor]


@st.composite
def operator_calls(draw: Any) -> Call:
    """Value, levels, points, weights, references and a gradient of the output."""
    batch, heads, channels, queries, points = (draw(sizes) for _ in range(5))
    levels = [(draw(heights), draw(heights)) if draw(st.integers(0, 5)) == 0 else (draw(sizes), draw(sizes))
              for _ in range(draw(st.integers(0, 3)))]  # fmt: skip
    cells = sum(height * width for height, width in levels)
    cells = cells if 0 <= cells < 1000 else draw(sizes)
    grid = [batch, queries, heads, len(levels), points]
    devices = DEVICES if draw(st.integers(0, 2)) == 0 else ("cpu",)
    return (
        draw(tensors([batch, cells, heads, channels], devices)),
        levels,
        draw(tensors([*grid, 2], devices)),
        draw(tensors(grid, devices)),
        draw(tensors([batch, queries, len(levels), draw(st.sampled_from([2, 4]))], devices)),
        draw(tensors([batch, queries, heads * channels], devices)),
    )


def flat(levels: list[tuple[int, int]]) -> list[int]:
    return [size for pair in levels for size in pair]


@cases(400)
@given(operator_calls(), st.booleans())
def test_operators_answer_or_refuse(call: Call, as_tensor: bool) -> None:
    value, levels, locations, weights, points, _ = call
    fits = all(abs(size) < 2**63 for size in flat(levels))
    shapes: Any = torch.tensor(levels) if as_tensor and levels and fits else levels
    for run in (
        lambda: dsct.ops.ms_deform_attn(value, shapes, None, locations, weights),
        lambda: dsct.ops.ms_deform_attn_fused(value, shapes, points, locations, weights),
    ):
        out = answered(run, "ms_deform_attn")
        if out is not None:
            assert out.shape == (value.shape[0], weights.shape[1], value.shape[2] * value.shape[3])
            assert (out.dtype, out.device) == (value.dtype, value.device)


@cases(400)
@given(operator_calls(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_registered_operators_answer_or_refuse(call: Call, mask: list[bool]) -> None:
    """The operators under ``torch.ops``, those for the gradients included, which usually only autograd calls."""
    value, levels, locations, weights, points, grad = call
    shapes = flat(levels)
    if any(abs(size) >= 2**63 for size in shapes):
        return
    plain, fused = (value, shapes, locations, weights), (value, shapes, points, locations, weights)
    ops = torch.ops.dsct
    for run, inputs, asked in (
        (lambda: [ops.ms_deform_attn(*plain)], None, [True]),
        (lambda: [ops.ms_deform_attn_fused(*fused)], None, [True]),
        (lambda: ops.ms_deform_attn_backward(grad, *plain, mask[:3]), (value, locations, weights), mask[:3]),
        (lambda: ops.ms_deform_attn_fused_backward(grad, *fused, mask), (value, points, locations, weights), mask),
    ):
        out = answered(run, "ms_deform_attn")
        if out is not None:
            assert [tensor is not None for tensor in out] == asked
        if out is not None and inputs is not None:
            for gradient, tensor in zip(out, inputs, strict=True):
                assert gradient is None or (gradient.shape, gradient.dtype) == (tensor.shape, tensor.dtype)


@cases(100)
@given(operator_calls())
def test_gradients_answer_or_refuse(call: Call) -> None:
    value, levels, locations, weights, points, _ = call
    every = [tensor.detach().clone() for tensor in (value, locations, weights, points)]
    if not all(tensor.is_floating_point() for tensor in every):
        return
    value, locations, weights, points = (tensor.requires_grad_() for tensor in every)
    for run, inputs in (
        (lambda: dsct.ops.ms_deform_attn(value, levels, None, locations, weights), (value, locations, weights)),
        (lambda: dsct.ops.ms_deform_attn_fused(value, levels, points, locations, weights), tuple(every)),
    ):
        out = answered(run, "ms_deform_attn")
        if out is not None:
            for gradient, tensor in zip(torch.autograd.grad(out.sum(), inputs), inputs, strict=True):
                assert gradient.shape == tensor.shape


@cases(200)
@given(st.lists(sizes, max_size=4), st.data())
def test_dropout_answers_or_refuses(shape: list[int], data: Any) -> None:
    x = data.draw(tensors(shape, DEVICES))
    p = data.draw(st.one_of(st.floats(0, 1), specials))
    seeds = [
        torch.tensor(3),
        torch.tensor([-(2**63)]),
        torch.tensor(1.5),
        torch.tensor([1, 2]),
        torch.tensor([]).long(),
    ]
    seed = data.draw(st.sampled_from([*seeds, torch.tensor(3, device="meta")]))
    out = answered(lambda: torch.ops.dsct.dropout(x, p, seed, data.draw(st.booleans())), "dropout")
    if out is not None:
        assert (out.shape, out.dtype, out.device) == (x.shape, x.dtype, x.device)
        assert 0 <= p < 1


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("dtype", KINDS)
def test_any_layout_gives_what_a_copy_gives(layout: Any, dtype: torch.dtype) -> None:
    levels = [(2, 3), (1, 1)]
    made = [torch.rand(2, 7, 2, 5), torch.rand(2, 3, 2, 2, 2, 2), torch.rand(2, 3, 2, 2, 2), torch.rand(2, 3, 2, 4)]
    views = [layout(tensor.to(dtype)) for tensor in made]
    copies = [view.contiguous().resolve_neg().clone() for view in views]
    grad = torch.rand(2, 3, 10, dtype=dtype)
    for value, locations, weights, points in (views, copies):
        plain, fused = (value, flat(levels), locations, weights), (value, flat(levels), points, locations, weights)
        results = [
            torch.ops.dsct.ms_deform_attn(*plain),
            torch.ops.dsct.ms_deform_attn_fused(*fused),
            *torch.ops.dsct.ms_deform_attn_backward(layout(grad), *plain, [True] * 3),
            *torch.ops.dsct.ms_deform_attn_fused_backward(layout(grad), *fused, [True] * 4),
            torch.ops.dsct.dropout(value, 0.5, torch.tensor(1), True),
        ]
        if value is views[0]:
            found = results
    assert all(torch.equal(one, other) for one, other in zip(found, results, strict=True))


def test_no_channels_have_no_gradients() -> None:
    value, locations, weights = torch.rand(1, 4, 2, 0), torch.rand(1, 3, 2, 1, 2, 2), torch.rand(1, 3, 2, 1, 2)
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    out = dsct.ops.ms_deform_attn(inputs[0], [(2, 2)], None, *inputs[1:])
    assert out.shape == (1, 3, 0)
    assert not any(gradient.any() for gradient in torch.autograd.grad(out.sum(), inputs))


def test_no_levels_have_no_gradients() -> None:
    value, offsets, logits = torch.rand(1, 0, 2, 3), torch.rand(1, 3, 2, 0, 2, 2), torch.rand(1, 3, 2, 0, 2)
    for size in (2, 4):
        inputs = [tensor.requires_grad_() for tensor in (value, torch.rand(1, 3, 0, size), offsets, logits)]
        out = dsct.ops.ms_deform_attn_fused(inputs[0], [], *inputs[1:])
        assert torch.equal(out, torch.zeros(1, 3, 6))
        gradients = torch.autograd.grad(out.sum(), inputs)
        assert [gradient.shape for gradient in gradients] == [tensor.shape for tensor in inputs]


def test_dropout_takes_no_seed_of_another_device() -> None:
    with pytest.raises(ValueError, match="dropout: seed must be on cpu like input, got meta"):
        torch.ops.dsct.dropout(torch.ones(3), 0.5, torch.tensor(1, device="meta"), False)


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_a_gradient_of_another_kind_is_refused(dtype: torch.dtype) -> None:
    value, locations, weights = torch.rand(1, 4, 2, 3), torch.rand(1, 3, 2, 1, 2, 2), torch.rand(1, 3, 2, 1, 2)
    with pytest.raises(TypeError, match="grad_output must be floating point"):
        torch.ops.dsct.ms_deform_attn_backward(
            torch.zeros(1, 3, 6, dtype=dtype), value, [2, 2], locations, weights, [True] * 3
        )
