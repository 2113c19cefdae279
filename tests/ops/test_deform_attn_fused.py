"""The fused operator: values, gradients of both orders, registration, dtypes, threads, strides."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import dsct.ops  # noqa: F401  (registers the operator)
from tests.ops.test_deform_attn import AWKWARD, LEVELS, Shapes, flat, leaves
from tests.reference.deform_attn import ms_deform_attn_gather

FUSED = torch.ops.dsct.ms_deform_attn_fused
BACKWARD = torch.ops.dsct.ms_deform_attn_fused_backward
Four = tuple[Tensor, Tensor, Tensor, Tensor]
points_or_boxes = pytest.mark.parametrize("size", [2, 4], ids=["points", "boxes"])


def inputs(
    size: int = 2,
    b: int = 2,
    m: int = 2,
    d: int = 4,
    q: int = 3,
    p: int = 2,
    shapes: Shapes = LEVELS,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Four:
    """Value, references, offsets that leave the map now and then, and logits."""
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": torch.float64, "generator": generator}
    s, levels = sum(h * w for h, w in shapes), len(shapes)
    value, logits = torch.randn(b, s, m, d, **options), torch.randn(b, q, m, levels, p, **options) * 2
    reference = torch.rand(b, q, levels, size, **options)
    offsets = torch.randn(b, q, m, levels, p, 2, **options) * (1 if size == 2 else p)
    return value.to(dtype), reference.to(dtype), offsets.to(dtype), logits.to(dtype)


def locations(shapes: Shapes, reference: Tensor, offsets: Tensor) -> Tensor:
    """Sampling locations (B, Q, M, L, P, 2) by the formula."""
    at_points = reference[:, :, None, :, None]
    if reference.shape[-1] == 4:
        return at_points[..., :2] + offsets / offsets.shape[4] * at_points[..., 2:] / 2
    return at_points + offsets / offsets.new_tensor([(w, h) for h, w in shapes])[:, None]


def expected(value: Tensor, shapes: Shapes, reference: Tensor, offsets: Tensor, logits: Tensor) -> Tensor:
    weights = logits.flatten(3).softmax(-1).reshape(logits.shape)
    return ms_deform_attn_gather(value, shapes, locations(shapes, reference, offsets), weights)


def op(value: Tensor, shapes: Shapes, reference: Tensor, offsets: Tensor, logits: Tensor) -> Tensor:
    return FUSED(value, flat(shapes), reference, offsets, logits)


def compare(tensors: Four, shapes: Shapes) -> None:
    """Output and all four gradients against the reference, in float64."""
    ours, theirs = leaves(*tensors), leaves(*tensors)
    out, reference = op(ours[0], shapes, *ours[1:]), expected(theirs[0], shapes, *theirs[1:])
    torch.testing.assert_close(out, reference, rtol=1e-10, atol=1e-10)
    seed = torch.randn(out.shape, dtype=torch.float64)
    out.backward(seed)
    reference.backward(seed)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-10)


@points_or_boxes
@pytest.mark.parametrize("sizes", AWKWARD.values(), ids=AWKWARD.keys())
def test_equals_softmax_locations_and_the_reference(sizes: dict[str, Any], size: int) -> None:
    compare(inputs(size, **sizes), sizes.get("shapes", LEVELS))


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([2, 4]), b=st.integers(0, 3), m=st.integers(1, 3), d=st.integers(1, 33), q=st.integers(0, 12),
    p=st.integers(1, 5), seed=st.integers(0, 99),
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
)  # fmt: skip
def test_equals_the_reference_for_any_sizes(
    size: int, b: int, m: int, d: int, q: int, p: int, seed: int, shapes: Shapes
) -> None:
    compare(inputs(size, b, m, d, q, p, shapes, seed=seed), shapes)


@settings(max_examples=30, deadline=None)
@given(shift=st.floats(-1e3, 1e3), size=st.sampled_from([2, 4]), seed=st.integers(0, 99))
def test_a_constant_in_the_logits_changes_nothing(shift: float, size: int, seed: int) -> None:
    value, reference, offsets, logits = inputs(size, seed=seed)
    out = op(value, LEVELS, reference, offsets, logits)
    torch.testing.assert_close(op(value, LEVELS, reference, offsets, logits + shift), out, rtol=1e-10, atol=1e-10)


@points_or_boxes
@pytest.mark.parametrize("sizes", [{"b": 0}, {"q": 0}], ids=["no image", "no query"])
def test_nothing_to_do_leaves_zero_gradients(size: int, sizes: dict[str, int]) -> None:
    tensors = leaves(*inputs(size, **sizes))
    op(tensors[0], LEVELS, *tensors[1:]).sum().backward()
    for tensor in tensors:
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


SMALL: Shapes = [(3, 2), (2, 2)]


def smooth(size: int) -> Four:
    """Few numbers, and no point within 0.01 cells of a line between cells, where the derivative jumps."""
    tensors = inputs(size, b=1, d=3, q=2, shapes=SMALL, seed=4)
    sizes = torch.tensor([(w, h) for h, w in SMALL])[:, None]
    coordinates = locations(SMALL, *tensors[1:3]) * sizes - 0.5
    assert (coordinates - coordinates.round()).abs().min() > 0.01
    return leaves(*tensors)


@points_or_boxes
def test_first_and_second_derivative(size: int) -> None:
    call = lambda v, r, o, a: op(v, SMALL, r, o, a)  # noqa: E731
    assert gradcheck(call, smooth(size))
    assert gradgradcheck(call, smooth(size))


@points_or_boxes
@pytest.mark.parametrize("mask", [[True] * 4, [True, False, False, True], [False, True, True, False]])
def test_derivative_of_the_backward_operator(size: int, mask: list[bool]) -> None:
    tensors = leaves(torch.randn(1, 2, 6, dtype=torch.float64), *smooth(size))
    call = lambda g, v, r, o, a: [  # noqa: E731
        t for t in BACKWARD(g, v, flat(SMALL), r, o, a, mask) if t is not None
    ]
    assert gradcheck(call, tensors)


@pytest.mark.parametrize(
    ("size", "needs"),
    [(2, [True] * 4), (4, [True] * 4), (4, [True, False, True, True]), (2, [False, False, True, False])],
)
def test_registration(size: int, needs: list[bool]) -> None:
    value, *others = (t.requires_grad_(n) for t, n in zip(inputs(size), needs, strict=True))
    torch.library.opcheck(FUSED, (value, flat(LEVELS), *others))


@points_or_boxes
def test_registration_of_the_backward_operator(size: int) -> None:
    value, *others = inputs(size)
    grad = torch.randn(2, 3, 8, dtype=torch.float64)
    torch.library.opcheck(BACKWARD, (grad, value, flat(LEVELS), *others, [True] * 4))


@points_or_boxes
@pytest.mark.parametrize("mask", list(product([False, True], repeat=4)), ids=str)
def test_output_mask_skips_gradients_and_changes_no_other(size: int, mask: tuple[bool, ...]) -> None:
    value, *others = inputs(size)
    grad = torch.randn(2, 3, 8, dtype=torch.float64)
    full = BACKWARD(grad, value, flat(LEVELS), *others, [True] * 4)
    for need_graph in (False, True):
        some = BACKWARD(grad.requires_grad_(need_graph), value, flat(LEVELS), *others, list(mask))
        for want, got, reference in zip(mask, some, full, strict=True):
            assert (got is not None) == want
            assert not want or torch.equal(got, reference)


@pytest.mark.parametrize("fake", [False, True], ids=["meta", "fake"])
def test_shapes_without_data(fake: bool) -> None:
    from torch._subclasses import FakeTensorMode

    mode = FakeTensorMode()
    tensors = inputs(4, d=5, dtype=torch.bfloat16)
    value, *others = [mode.from_tensor(t) for t in tensors] if fake else [t.to("meta") for t in tensors]
    with mode if fake else nullcontext():
        out = op(value, LEVELS, *others)
        grads = BACKWARD(out, value, flat(LEVELS), *others, [True, False, True, True])
    assert (out.shape, out.dtype, out.device) == ((2, 3, 10), torch.bfloat16, value.device)
    assert [g if g is None else g.shape for g in grads] == [value.shape, None, others[1].shape, others[2].shape]


@points_or_boxes
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
def test_the_composite_of_other_devices(size: int, dtype: torch.dtype, tolerance: float) -> None:
    other_device = torch._C.DispatchKeySet(torch._C.DispatchKey.XLA)  # no kernel of its own, so it gets the composite
    value, *others = inputs(size, dtype=dtype)
    out = FUSED(value, flat(LEVELS), *others)
    composite = FUSED.default.redispatch(other_device, value, flat(LEVELS), *others)
    torch.testing.assert_close(composite, out, rtol=tolerance, atol=tolerance)
    arguments = (torch.randn_like(out), value, flat(LEVELS), *others, [True, True, False, True])
    for ours, theirs in zip(BACKWARD.default.redispatch(other_device, *arguments), BACKWARD(*arguments), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == dtype
            torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())


DTYPES = [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)]


@points_or_boxes
@pytest.mark.parametrize("float32", ["", "reference", "reference offsets logits", "offsets", "logits"])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
def test_lower_precision(dtype: torch.dtype, tolerance: float, float32: str, size: int) -> None:
    named = zip(["value", "reference", "offsets", "logits"], inputs(size, d=40, q=17), strict=True)
    ours = leaves(*(t.to(torch.float32 if name in float32.split() else dtype) for name, t in named))
    theirs = leaves(*(t.detach().double() for t in ours))
    out, reference = op(ours[0], LEVELS, *ours[1:]), expected(theirs[0], LEVELS, *theirs[1:])
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), reference, rtol=tolerance, atol=tolerance)
    seed = torch.randn_like(out)
    out.backward(seed)
    reference.backward(seed.double())
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == mine.dtype
        scale = other.grad.abs().max().item()
        torch.testing.assert_close(mine.grad.double(), other.grad, rtol=tolerance, atol=tolerance * scale)


@points_or_boxes
@pytest.mark.parametrize("low", [False, True], ids=["float32 offsets", "bfloat16 offsets"])
def test_autocast_keeps_reference_points_in_float32(size: int, low: bool) -> None:
    value, reference, offsets, logits = leaves(*inputs(size, dtype=torch.float32))
    if low:
        offsets, logits = leaves(offsets.detach().bfloat16(), logits.detach().bfloat16())
    tensors = (value, reference, offsets, logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = op(value, LEVELS, *tensors[1:])
    assert torch.equal(out, op(value.detach().bfloat16(), LEVELS, *[t.detach() for t in tensors[1:]]))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(t.grad.dtype == t.dtype for t in tensors)


@points_or_boxes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("b", "m"), [(1, 2), (3, 4)], ids=["fewer heads than threads", "more"])
def test_same_bits_for_every_number_of_threads(b: int, m: int, dtype: torch.dtype, size: int) -> None:
    tensors = leaves(*inputs(size, b, m, d=21, q=37, shapes=[(9, 7), (4, 5), (2, 2)], dtype=dtype))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 5, 16):
            torch.set_num_threads(count)
            out = op(tensors[0], [(9, 7), (4, 5), (2, 2)], *tensors[1:])
            results.append((out, *torch.autograd.grad(out.square().sum(), tensors)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@points_or_boxes
def test_views_and_strides(size: int) -> None:
    tensors = inputs(size, b=4)
    views = [torch.stack([t, -t], -1)[..., 0].transpose(0, 1).contiguous().transpose(0, 1) for t in tensors]
    assert not any(view.is_contiguous() for view in views)
    expected_out = op(tensors[0], LEVELS, *tensors[1:])
    assert torch.equal(op(views[0], LEVELS, *views[1:]), expected_out)
    assert torch.equal(op(tensors[0][1:], LEVELS, *[t[1:] for t in tensors[1:]]), expected_out[1:])
    grad = torch.randn(8, 3, 4, dtype=torch.float64).permute(2, 1, 0)
    ours = BACKWARD(grad, views[0], flat(LEVELS), *views[1:], [True] * 4)
    theirs = BACKWARD(grad.contiguous(), tensors[0], flat(LEVELS), *tensors[1:], [True] * 4)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
