"""The operator: values, gradients of both orders, registration, dtypes, awkward sizes, threads, forks, bad input."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import dsct.ops  # noqa: F401  (registers the operator)
from tests.reference.deform_attn import ms_deform_attn as by_grid_sample
from tests.reference.deform_attn import ms_deform_attn_gather as by_gather

Shapes = list[tuple[int, int]]
LEVELS: Shapes = [(4, 3), (2, 3), (1, 1)]


def flat(shapes: Shapes) -> list[int]:
    return [size for pair in shapes for size in pair]


def op(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    return torch.ops.dsct.ms_deform_attn(value, flat(shapes), locations, weights)


def inputs(
    b: int = 2,
    m: int = 2,
    d: int = 4,
    q: int = 3,
    p: int = 2,
    shapes: Shapes = LEVELS,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, locations (some outside [0, 1]) and weights that do not sum to one."""
    generator = torch.Generator().manual_seed(seed)
    s, levels = sum(h * w for h, w in shapes), len(shapes)
    value = torch.randn(b, s, m, d, dtype=torch.float64, generator=generator)
    locations = torch.rand(b, q, m, levels, p, 2, dtype=torch.float64, generator=generator) * 1.4 - 0.2
    weights = torch.rand(b, q, m, levels, p, dtype=torch.float64, generator=generator) - 0.3
    return value.to(dtype), locations.to(dtype), weights.to(dtype)


def leaves(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.clone().requires_grad_() for tensor in tensors)


AWKWARD = {
    "one query": {"q": 1},
    "one cell": {"shapes": [(1, 1)]},
    "odd maps": {"shapes": [(7, 13), (1, 9), (5, 1)]},
    "65 images": {"b": 65},
    "no image": {"b": 0},
    "no query": {"q": 0},
    "one channel": {"d": 1},
    "48 channels": {"d": 48},
    "32 channels": {"d": 32, "m": 8},
    "many points": {"p": 9},
    "more queries than a task": {"q": 45},
}


@pytest.mark.parametrize("sizes", AWKWARD.values(), ids=AWKWARD.keys())
def test_equals_both_references(sizes: dict) -> None:
    value, locations, weights = inputs(**sizes)
    shapes = sizes.get("shapes", LEVELS)
    out = op(value, shapes, locations, weights)
    torch.testing.assert_close(out, by_gather(value, shapes, locations, weights), rtol=1e-12, atol=1e-12)
    if value.shape[0] and locations.shape[1]:
        torch.testing.assert_close(out, by_grid_sample(value, shapes, locations, weights), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sizes", AWKWARD.values(), ids=AWKWARD.keys())
def test_gradients_equal_the_reference(sizes: dict) -> None:
    shapes = sizes.get("shapes", LEVELS)
    ours, theirs = leaves(*inputs(**sizes)), leaves(*inputs(**sizes))
    seed = torch.randn_like(op(ours[0].detach(), shapes, *[t.detach() for t in ours[1:]]))
    op(ours[0], shapes, *ours[1:]).backward(seed)
    by_gather(theirs[0], shapes, *theirs[1:]).backward(seed)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-10, atol=1e-10)


def test_first_and_second_derivative() -> None:
    tensors = leaves(*inputs(b=1, q=2, shapes=[(3, 2), (2, 2)]))
    call = lambda v, loc, w: op(v, [(3, 2), (2, 2)], loc, w)  # noqa: E731
    assert gradcheck(call, tensors)
    assert gradgradcheck(call, tensors)


def test_second_derivative_of_the_backward_operator() -> None:
    tensors = leaves(torch.randn(1, 2, 8, dtype=torch.float64), *inputs(b=1, q=2, shapes=[(3, 2)]))
    call = lambda g, v, loc, w: torch.ops.dsct.ms_deform_attn_backward(g, v, [3, 2], loc, w, [True] * 3)  # noqa: E731
    assert gradcheck(call, tensors)


@pytest.mark.parametrize("needs", [(True, True, True), (False, True, True), (True, False, False), (False, False, True)])
def test_registration(needs: tuple[bool, bool, bool]) -> None:
    value, locations, weights = (t.requires_grad_(n) for t, n in zip(inputs(), needs, strict=True))
    torch.library.opcheck(torch.ops.dsct.ms_deform_attn, (value, flat(LEVELS), locations, weights))


def test_registration_of_the_backward_operator() -> None:
    grad = torch.randn(2, 3, 8, dtype=torch.float64)
    arguments = (grad, *inputs()[:1], flat(LEVELS), *inputs()[1:], [True, True, True])
    torch.library.opcheck(torch.ops.dsct.ms_deform_attn_backward, arguments)


def test_output_mask_skips_gradients_and_changes_no_other() -> None:
    value, locations, weights = inputs()
    grad = torch.randn(2, 3, 8, dtype=torch.float64)
    backward = torch.ops.dsct.ms_deform_attn_backward
    full = backward(grad, value, flat(LEVELS), locations, weights, [True, True, True])
    for needed in ([True, False, False], [False, True, False], [False, False, True]):
        some = backward(grad, value, flat(LEVELS), locations, weights, needed)
        for want, got, reference in zip(needed, some, full, strict=True):
            assert (got is not None) == want
            if want:
                assert torch.equal(got, reference)


def test_fake_tensors_have_the_right_shape() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        value, locations, weights = (mode.from_tensor(t.float()) for t in inputs(d=5))
        out = op(value, LEVELS, locations, weights)
    assert out.shape == (2, 3, 10)
    assert out.dtype == torch.float32


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 1.5e-2), (torch.float32, 1e-5)]
)
@pytest.mark.parametrize("mixed", [False, True], ids=["same dtype", "float32 coordinates"])
def test_lower_precision(dtype: torch.dtype, tolerance: float, mixed: bool) -> None:
    exact = inputs(d=32, q=17)
    value, locations, weights = exact[0].to(dtype), exact[1], exact[2]
    other = torch.float32 if mixed else dtype
    ours = leaves(value, locations.to(other), weights.to(other))
    theirs = leaves(*(t.detach().double() for t in ours))
    out = op(ours[0], LEVELS, *ours[1:])
    expected = by_gather(theirs[0], LEVELS, *theirs[1:])
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    seed = torch.randn_like(out)
    out.backward(seed)
    expected.backward(seed.double())
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == mine.dtype
        scale = reference.grad.abs().max().item()
        torch.testing.assert_close(mine.grad.double(), reference.grad, rtol=tolerance, atol=tolerance * scale)


def test_autocast_keeps_coordinates_in_float32() -> None:
    value, locations, weights = leaves(*inputs(dtype=torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = op(value, LEVELS, locations, weights)
    assert out.dtype == torch.bfloat16
    expected = op(value.detach().bfloat16(), LEVELS, locations.detach(), weights.detach())
    assert torch.equal(out, expected)
    out.float().sum().backward()
    assert value.grad.dtype == locations.grad.dtype == weights.grad.dtype == torch.float32


def test_outside_and_nan_locations_contribute_nothing() -> None:
    value, locations, weights = inputs()
    for bad in (-5.0, 7.0, float("inf"), float("-inf"), float("nan"), 1e30):
        out = op(value, LEVELS, torch.full_like(locations, bad), weights)
        assert torch.equal(out, torch.zeros_like(out)), bad


def test_views_and_strides() -> None:
    value, locations, weights = inputs(b=4)
    expected = op(value, LEVELS, locations, weights)
    value_view = value.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    weights_view = torch.stack([weights, weights], -1)[..., 0]
    assert torch.equal(op(value_view, LEVELS, locations, weights_view), expected)
    assert torch.equal(op(value[1:], LEVELS, locations[1:], weights[1:]), expected[1:])


def test_same_bits_for_every_number_of_threads() -> None:
    value, locations, weights = inputs(b=2, m=4, d=16, q=50, dtype=torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            tensors = leaves(value, locations, weights)
            out = op(tensors[0], LEVELS, *tensors[1:])
            results.append((out, *torch.autograd.grad(out.square().sum(), tensors)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_many_python_threads() -> None:
    value, locations, weights = inputs(q=40, dtype=torch.float32)
    expected = op(value, LEVELS, locations, weights)
    with ThreadPoolExecutor(8) as executor:
        outputs = list(executor.map(lambda _: op(value, LEVELS, locations, weights), range(40)))
    assert all(torch.equal(out, expected) for out in outputs)


def _in_child(queue: multiprocessing.Queue, threads: int) -> None:
    torch.set_num_threads(threads)
    value, locations, weights = inputs(q=40, dtype=torch.float32)
    queue.put(op(value, LEVELS, locations, weights).sum().item())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_after_fork(threads: int) -> None:
    value, locations, weights = inputs(q=40, dtype=torch.float32)
    expected = op(value, LEVELS, locations, weights).sum().item()  # the parent's pool exists now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, threads))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0


HUGE = 2**62
BAD = {
    "value rank": (lambda v, s, loc, w: (v[0], s, loc, w), ValueError, r"value must be \(B, S, M, D\)"),
    "locations rank": (
        lambda v, s, loc, w: (v, s, loc[0], w),
        ValueError,
        r"sampling_locations must be \(B, Q, M, L, P, 2\)",
    ),
    "locations last": (lambda v, s, loc, w: (v, s, loc[..., :1], w), ValueError, "sampling_locations"),
    "locations batch": (lambda v, s, loc, w: (v, s, loc[:1], w[:1]), ValueError, "sampling_locations must have B = 2"),
    "weights shape": (lambda v, s, loc, w: (v, s, loc, w[:, :2]), ValueError, "attention_weights"),
    "levels": (lambda v, s, loc, w: (v, s[:4], loc, w), ValueError, "spatial_shapes must hold a"),
    "sum of levels": (lambda v, s, loc, w: (v, [4, 3, 2, 3, 1, 2], loc, w), ValueError, "spatial_shapes cover"),
    "too few cells": (lambda v, s, loc, w: (v, [4, 3, 2, 2, 1, 1], loc, w), ValueError, "cover 17 cells, value has 19"),
    "zero level": (lambda v, s, loc, w: (v, [4, 3, 0, 3, 7, 1], loc, w), ValueError, "positive"),
    "negative level": (lambda v, s, loc, w: (v, [-4, -3, 2, 3, 1, 1], loc, w), ValueError, "positive"),
    "overflow": (lambda v, s, loc, w: (v, [HUGE, HUGE, 2, 3, 1, 1], loc, w), ValueError, "more than the 19 cells"),
    "overflow to the sum": (lambda v, s, loc, w: (v, [2**32, 2**32, 19, 1, 1, 1], loc, w), ValueError, "more than"),
    "integer value": (lambda v, s, loc, w: (v.long(), s, loc, w), TypeError, "value must be float32"),
    "mixed dtypes": (lambda v, s, loc, w: (v, s, loc.float(), w), TypeError, "sampling_locations must be Double"),
    "half weights": (lambda v, s, loc, w: (v.float(), s, loc.float(), w.half()), TypeError, "attention_weights"),
    "device": (lambda v, s, loc, w: (v, s, loc.to("meta"), w), ValueError, "sampling_locations must be on cpu"),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD.keys())
def test_refuses_bad_input(change: object, error: type[Exception], message: str) -> None:
    value, locations, weights = inputs()
    with pytest.raises(error, match=message):
        torch.ops.dsct.ms_deform_attn(*change(value, flat(LEVELS), locations, weights))


def test_backward_refuses_a_gradient_of_another_shape() -> None:
    value, locations, weights = inputs()
    with pytest.raises(ValueError, match="grad_output must be"):
        torch.ops.dsct.ms_deform_attn_backward(
            torch.zeros(2, 3, 9, dtype=torch.float64), value, flat(LEVELS), locations, weights, [True, True, True]
        )


@settings(max_examples=60, deadline=None)
@given(
    b=st.integers(0, 3), m=st.integers(1, 3), d=st.integers(1, 33), q=st.integers(0, 20), p=st.integers(1, 4),
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4), seed=st.integers(0, 99),
)  # fmt: skip
def test_equals_the_reference_for_any_sizes(b: int, m: int, d: int, q: int, p: int, shapes: Shapes, seed: int) -> None:
    value, locations, weights = inputs(b, m, d, q, p, shapes, seed=seed)
    expected = by_gather(value, shapes, locations, weights)
    torch.testing.assert_close(op(value, shapes, locations, weights), expected, rtol=1e-11, atol=1e-11)


def test_devices_without_a_kernel_have_the_composite() -> None:
    for key in ("CPU", "CUDA", "Meta"):
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key("dsct::ms_deform_attn", key), key


@pytest.mark.parametrize("name", ["dsct::ms_deform_attn", "dsct::ms_deform_attn_fused"])
def test_both_operators_are_registered_for_every_dispatch_key(name: str) -> None:
    registered = torch._C._dispatch_has_kernel_for_dispatch_key
    for key in ("CPU", "CUDA", "Meta", "CompositeExplicitAutograd", "Autograd"):
        assert registered(name, key), key
        assert registered(f"{name}_backward", key), key
    assert registered(name, "AutocastCPU")
    assert registered(name, "AutocastCUDA")
