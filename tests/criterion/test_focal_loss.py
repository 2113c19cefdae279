"""Sigmoid focal loss: known values, stability, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from dsct import _dsct


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, 6, dtype=torch.float64, generator=generator)
    return logits, torch.randint(0, 2, (4, 6), generator=generator).double()


def test_without_focus_it_is_binary_cross_entropy() -> None:
    logits, targets = batch()
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(
        2 * _dsct.sigmoid_focal_loss(logits, targets, 0.5, 0.0), expected, rtol=1e-12, atol=1e-14
    )


@given(st.integers(0, 2**31), st.floats(0.01, 0.99), st.floats(0, 5))
def test_equals_torchvision(seed: int, alpha: float, gamma: float) -> None:
    logits, targets = batch(seed)
    expected = sigmoid_focal_loss(logits, targets, alpha, gamma)
    torch.testing.assert_close(_dsct.sigmoid_focal_loss(logits, targets, alpha, gamma), expected, rtol=1e-9, atol=1e-12)


def test_one_value_by_hand() -> None:
    # p = 1/2: 0.25 * (1/2)^2 * log 2 where the target is 1, 0.75 * (1/2)^2 * log 2 where it is 0.
    loss = _dsct.sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), 0.25, 2.0)
    torch.testing.assert_close(loss, torch.tensor([0.0625, 0.1875]) * 0.6931472)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_far_logits_have_finite_values_and_gradients(gamma: float, target: float) -> None:
    logits = torch.tensor([-1e30, -1e4, -200.0, 0.0, 200.0, 1e4, 1e30], requires_grad=True)
    loss = _dsct.sigmoid_focal_loss(logits, torch.full_like(logits, target), 0.25, gamma)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    assert (loss >= 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.0])
def test_gradients_are_those_of_finite_differences(gamma: float) -> None:
    logits, targets = batch()
    assert torch.autograd.gradcheck(
        lambda x: _dsct.sigmoid_focal_loss(x, targets, 0.25, gamma), (logits.requires_grad_(),)
    )


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"targets must be of the shape of logits \(2, 3\), got \(3, 2\)"):
        _dsct.sigmoid_focal_loss(torch.zeros(2, 3), torch.zeros(3, 2), 0.25, 2.0)
