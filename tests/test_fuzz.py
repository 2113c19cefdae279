"""The boundary under random input: an answer of the right shape or one clear Python error, whatever comes in.

A crash or an access out of bounds would end the test run itself.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dsct
from dsct.config import DSCTConfig

EXAMPLES = 400
CLEAR = (ValueError, TypeError)
sizes = st.sampled_from([0, 1, 1, 2, 2, 3, 5])
#: Sizes of levels, the last ones made to overflow a product, or a pointer.
heights = st.sampled_from([0, 1, 2, 3, 7, -1, -(2**63), 2**31, 2**32, 2**62, 2**63 - 1])
dtypes = st.sampled_from(
    [torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
specials = st.sampled_from([0.0, 0.5, 1.0, float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 2.0**63])


@st.composite
def tensors(draw: Any, shape: list[int]) -> torch.Tensor:
    """Of nearly this shape, of any dtype and stride, with special values in it."""
    shape = list(shape)
    change = draw(st.integers(0, 19))
    if change == 0 and shape:
        shape[draw(st.integers(0, len(shape) - 1))] += draw(st.sampled_from([-1, 1, 2]))
    elif change == 1:
        shape = shape[1:]
    elif change == 2:
        shape = [*shape, 1]
    shape = [max(0, size) for size in shape]
    dtype = draw(dtypes) if draw(st.integers(0, 3)) == 0 else torch.float32
    made = torch.rand(shape).to(dtype)
    if made.numel() and dtype.is_floating_point and draw(st.booleans()):
        made.view(-1)[draw(st.integers(0, made.numel() - 1))] = draw(specials)
    layout = draw(st.integers(0, 5))
    if layout == 0 and made.dim() >= 2:
        made = made.transpose(0, -1).contiguous().transpose(0, -1)
    elif layout == 1 and made.dim():
        made = torch.stack([made, made], -1)[..., 0]
    elif layout == 2 and made.dim() and made.shape[0] == 1:
        made = made.expand(made.shape)
    return made


@st.composite
def operator_calls(draw: Any) -> tuple[Any, ...]:
    batch, heads, channels, queries, points = (draw(sizes) for _ in range(5))
    levels = [(draw(heights), draw(heights)) if draw(st.integers(0, 5)) == 0 else (draw(sizes), draw(sizes))
              for _ in range(draw(st.integers(0, 3)))]  # fmt: skip
    cells = sum(height * width for height, width in levels)
    cells = cells if 0 <= cells < 1000 else draw(sizes)
    grid = [batch, queries, heads, len(levels), points]
    value = draw(tensors([batch, cells, heads, channels]))
    shapes: Any = levels
    if levels and all(abs(size) < 2**63 for pair in levels for size in pair) and draw(st.booleans()):
        shapes = torch.tensor(levels)
    return (
        value,
        shapes,
        draw(tensors([*grid, 2])),
        draw(tensors(grid)),
        draw(tensors([batch, queries, len(levels), 2])),
    )


def answered(call: Any, names: str = "ms_deform_attn") -> Any:
    """What it returns, or None after a clear error, whose text begins with one of the names."""
    error: Exception
    try:
        return call()
    except CLEAR as caught:
        error = caught
    assert re.match(names, str(error)), str(error)
    return None


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(operator_calls())
def test_operators_answer_or_refuse(call: tuple[Any, ...]) -> None:
    value, shapes, locations, weights, points = call
    for run in (
        lambda: dsct.ops.ms_deform_attn(value, shapes, None, locations, weights),
        lambda: dsct.ops.ms_deform_attn_fused(value, shapes, points, locations, weights),
    ):
        out = answered(run)
        if out is not None:
            assert out.shape == (value.shape[0], weights.shape[1], value.shape[2] * value.shape[3])
            assert out.dtype == value.dtype


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(operator_calls())
def test_backward_answers_or_refuses(call: tuple[Any, ...]) -> None:
    value, shapes, locations, weights, _ = call
    inputs = [tensor.detach().clone() for tensor in (value, locations, weights)]
    if not all(tensor.is_floating_point() for tensor in inputs):
        return
    inputs = [tensor.requires_grad_() for tensor in inputs]
    out = answered(lambda: dsct.ops.ms_deform_attn(inputs[0], shapes, None, *inputs[1:]))
    if out is not None:
        for gradient, tensor in zip(torch.autograd.grad(out.sum(), inputs), inputs, strict=True):
            assert gradient.shape == tensor.shape


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_matching_and_loss_answer_or_refuse(data: Any) -> None:
    config = DSCTConfig.tiny(num_subject_queries=3)
    batch, queries, people = (data.draw(sizes) for _ in range(3))
    outputs = {
        "pred_logits": data.draw(tensors([batch, queries, config.num_logits])),
        "pred_boxes": data.draw(tensors([batch, queries, 4])),
    }
    lowest, highest = data.draw(st.sampled_from([(0, 7), (-1, 9)]))
    labels = torch.randint(lowest, highest, (people,))
    targets = [{"labels": labels, "boxes": data.draw(tensors([people, 4]))} for _ in range(batch)]
    losses = answered(lambda: dsct.SetCriterion(config)(outputs, targets), "criterion|set_criterion|hungarian_matcher")
    assert losses is None or all(loss.dim() == 0 for loss in losses.values())


@pytest.mark.parametrize("shape", [(1, 3, 0, 5), (1, 3, 1, 1), (0, 3, 32, 32), (2, 3, 1, 33)])
def test_awkward_pictures_have_an_answer_or_a_clear_error(shape: tuple[int, ...]) -> None:
    model = dsct.DSCT(DSCTConfig.tiny(num_context_queries=6, k_spatial=3, k_semantic=2)).eval()
    out = answered(lambda: model(torch.rand(shape)), ".*images")
    assert out is None or out["pred_boxes"].shape == (shape[0], 8, 4)
