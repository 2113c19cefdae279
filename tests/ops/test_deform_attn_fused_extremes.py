"""The fused operator where numbers end: logits far apart or without a softmax, points that lie nowhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.ops.test_deform_attn import LEVELS, leaves
from tests.ops.test_deform_attn_fused import expected, inputs, op, points_or_boxes

EXTREME = {
    "equal": lambda logits: torch.full_like(logits, 3.0),
    "one large": lambda logits: logits.index_fill(4, torch.tensor(1), 1e4),
    "one small": lambda logits: logits.index_fill(4, torch.tensor(1), -1e4),
    "all large": lambda logits: logits + 1e4,
    "all small": lambda logits: logits - 1e4,
    "one -inf": lambda logits: logits.index_put((*[torch.tensor(0)] * 5,), torch.tensor(float("-inf")).to(logits)),
    "far apart": lambda logits: logits * 1e4,
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("extreme", EXTREME.values(), ids=EXTREME.keys())
def test_extreme_logits_are_those_of_torch(extreme: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    value, reference, offsets, logits = inputs(p=5, dtype=dtype)
    logits = extreme(logits.clamp(-3, 3))
    ours = leaves(value, reference, offsets, logits)
    arithmetic = torch.float64 if dtype == torch.float64 else torch.float32
    theirs = leaves(*(t.to(arithmetic) for t in (value, reference, offsets, logits)))
    out, other = op(ours[0], LEVELS, *ours[1:]), expected(theirs[0], LEVELS, *theirs[1:])
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5}.get(dtype, 1.5e-2)
    torch.testing.assert_close(out.to(arithmetic), other, rtol=tolerance, atol=tolerance)
    (mine,) = torch.autograd.grad(out.sum(), ours[3])
    (reference,) = torch.autograd.grad(other.sum(), theirs[3])
    torch.testing.assert_close(mine.to(arithmetic), reference, rtol=tolerance, atol=4 * tolerance)


@points_or_boxes
@pytest.mark.parametrize("bad", [[float("nan")], [float("inf")], [float("-inf")] * 6], ids=["nan", "inf", "all -inf"])
def test_logits_without_a_softmax_harm_their_own_query_and_head_only(size: int, bad: list[float]) -> None:
    tensors = inputs(size, d=9)
    broken = tensors[3].clone()
    broken[1, 2, 0].view(-1)[: len(bad)] = torch.tensor(bad, dtype=torch.float64)
    results = []
    for logits in (tensors[3], broken):
        mine = leaves(*tensors[:3], logits)
        out = op(mine[0], LEVELS, *mine[1:])
        value, reference, *points = torch.autograd.grad(out.sum(), mine)
        results.append((out.unflatten(2, (2, 9)), points, value[:1], value[1, :, 1], reference[:1], reference[1, :2]))
    (clean, clean_points, *clean_rest), (out, points, *rest) = results
    others = torch.ones(2, 3, 2, dtype=torch.bool)
    others[1, 2, 0] = False
    assert out[~others].isnan().all()
    assert torch.equal(out[others], clean[others])
    for broken_grad, clean_grad in zip(points, clean_points, strict=True):
        assert torch.equal(broken_grad[others], clean_grad[others])
    assert all(torch.equal(a, b) for a, b in zip(rest, clean_rest, strict=True))


@points_or_boxes
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30, -1e30])
def test_points_nowhere_contribute_nothing(size: int, bad: float) -> None:
    value, reference, offsets, logits = inputs(size)
    nowhere = torch.rand(logits.shape) < 0.4
    results = []
    for number in (bad, -1e6):  # both outside of every map
        tensors = leaves(value, reference, offsets.masked_fill(nowhere[..., None], number), logits)
        out = op(tensors[0], LEVELS, *tensors[1:])
        results.append((out, *torch.autograd.grad(out.square().sum(), tensors)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert not results[0][3][nowhere].any()


@points_or_boxes
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e6])
def test_the_composite_agrees_about_points_nowhere(size: int, bad: float) -> None:
    tensors = inputs(size)
    tensors[2].masked_fill_((torch.rand(tensors[3].shape) < 0.4)[..., None], bad)
    backward = torch.ops.dsct.ms_deform_attn_fused_backward
    flat = [n for pair in LEVELS for n in pair]
    grad = torch.randn_like(op(tensors[0], LEVELS, *tensors[1:]))
    arguments = (grad, tensors[0], flat, *tensors[1:], [True] * 4)
    ours = backward(*arguments)
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.XLA)  # a device without kernels
    theirs = backward.default.redispatch(keys, *arguments)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.isfinite().all()
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_no_points_give_zeros() -> None:
    value, reference, offsets, logits = inputs()
    tensors = leaves(value, reference, offsets[:, :, :, :, :0], logits[..., :0])
    out = op(tensors[0], LEVELS, *tensors[1:])
    assert not out.any()
    assert not any(grad.any() for grad in torch.autograd.grad(out.sum(), tensors))
