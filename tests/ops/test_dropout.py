"""Dropout without a stored mask: its share, its mask, its gradient, threads, dtypes, registration, bad input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import dsct
from tests.comparison import small


def op(x: Tensor, p: float = 0.3, seed: int = 7, relu: bool = False) -> Tensor:
    return torch.ops.dsct.dropout(x, p, torch.tensor(seed), relu)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.93])
def test_share_and_scale(p: float) -> None:
    out = op(torch.ones(1_000_003), p)
    kept = out != 0
    assert kept.double().mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 1e6) ** 0.5 + 1e-12)
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - p)))


def test_neighbours_chunks_and_seeds_are_independent() -> None:
    kept = torch.stack([(op(torch.ones(1 << 20), 0.5, seed) != 0).double() for seed in (0, 1, 2, 2**62)]) - 0.5
    limit = 5 * 0.25 / 2**10
    for lag in (1, 2, 8, 64, 1024, 4096, 65536):
        assert (kept[:, lag:] * kept[:, :-lag]).mean(1).abs().max() < limit
    for other in range(1, 4):
        assert (kept[0] * kept[other]).mean().abs() < limit
    per_chunk = kept.view(4, -1, 4096).mean(-1)
    assert per_chunk.var() == pytest.approx(0.25 / 4096, rel=0.15)


def test_same_mask_for_any_number_of_threads() -> None:
    x, before = torch.randn(100_001), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(op(x))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("shape", [(0,), (), (1,), (7,), (4096,), (4097,), (3, 5, 9)])
def test_relu_comes_first_and_keeps_the_mask(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    torch.testing.assert_close(op(x, relu=True), op(x).clamp(min=0))
    assert op(x).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    x = torch.randn(5000).to(dtype)
    torch.testing.assert_close(op(x), op(x.double()).to(dtype), rtol=0 if dtype != torch.float64 else 1e-12, atol=0)


def test_what_is_kept_stays_nan() -> None:
    out = op(torch.full((1000,), float("nan")), 0.5, relu=True)
    assert out.isnan().any()
    assert (out[~out.isnan()] == 0).all()


@pytest.mark.parametrize("relu", [False, True])
def test_gradient_is_the_mask(relu: bool) -> None:
    x = torch.randn(6000, requires_grad=True)
    out = op(x, relu=relu)
    seed = torch.randn(6000)
    out.backward(seed)
    kept = (out != 0).float() / 0.7
    torch.testing.assert_close(x.grad, seed * kept)


@pytest.mark.parametrize("relu", [False, True])
def test_derivatives_and_registration(relu: bool) -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda t: op(t, relu=relu), x)
    assert gradgradcheck(lambda t: op(t, relu=relu), x)
    torch.library.opcheck(torch.ops.dsct.dropout, (x.detach().requires_grad_(), 0.3, torch.tensor(3), relu))


def test_views_are_read_in_their_own_order() -> None:
    x = torch.randn(40, 30)
    torch.testing.assert_close(op(x.t()), op(x.t().contiguous()))


def test_models_draw_from_torchs_generator() -> None:
    model, images = dsct.DSCT(small(dropout=0.3)).train(), torch.randn(1, 3, 64, 64)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model(images)["pred_logits"])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((torch.ones(3, dtype=torch.int64), 0.1, torch.tensor(1), False), TypeError, "input must be float32"),
        ((torch.ones(3), 1.0, torch.tensor(1), False), ValueError, r"p must be in \[0, 1\), got 1"),
        ((torch.ones(3), float("nan"), torch.tensor(1), False), ValueError, r"p must be in \[0, 1\)"),
        ((torch.ones(3), 0.1, torch.tensor(1.0), False), TypeError, "seed must be int64"),
        ((torch.ones(3), 0.1, torch.tensor([1, 2]), False), ValueError, "seed must hold one number"),
    ],
)
def test_rejects(arguments: tuple, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        torch.ops.dsct.dropout(*arguments)
