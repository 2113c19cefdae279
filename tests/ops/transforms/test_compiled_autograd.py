"""Compiled autograd: the operators' nodes are part of a compiled backward pass and give the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._dynamo import compiled_autograd

import dsct


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, requires_grad=True)


def plain(height: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
    shapes = [(height, 5), (2, 2)]
    leaves = [random(2, height * 5 + 4, 2, 4), random(2, 3, 2, 2, 2, 2), random(2, 3, 2, 2, 2)]
    return (lambda value, *points: dsct.ops.ms_deform_attn(value, shapes, None, *points)), leaves


def fused(height: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
    shapes = [(height, 5), (2, 2)]
    leaves = [random(2, height * 5 + 4, 2, 4), random(2, 3, 2, 4), random(2, 3, 2, 2, 2, 2), random(2, 3, 2, 2, 2)]
    return (lambda value, *points: dsct.ops.ms_deform_attn_fused(value, shapes, *points)), leaves


def dropout(relu: bool) -> Callable[[int], tuple[Callable[..., Tensor], list[Tensor]]]:
    def case(height: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
        return (lambda x: torch.ops.dsct.dropout(x - 0.5, 0.4, torch.tensor(height), relu)), [random(height, 7)]

    return case


@pytest.mark.parametrize("case", [plain, fused, dropout(False), dropout(True)])
def test_gradients_equal_those_of_the_ordinary_backward_pass(case: Callable[[int], tuple]) -> None:
    for height in (4, 3):  # a second size, after the first was compiled
        torch.manual_seed(height)
        function, leaves = case(height)
        expected = torch.autograd.grad(function(*leaves).sin().sum(), leaves)
        with compiled_autograd._enable(torch.compile(backend="eager", fullgraph=True)):
            function(*leaves).sin().sum().backward()
        assert all(torch.equal(leaf.grad, gradient) for leaf, gradient in zip(leaves, expected, strict=True))


def test_gradients_of_chosen_inputs_alone() -> None:
    function, (value, locations, weights) = plain(4)
    locations.requires_grad_(False)
    expected = torch.autograd.grad(function(value, locations, weights).sum(), [value, weights])
    with compiled_autograd._enable(torch.compile(backend="eager", fullgraph=True)):
        function(value, locations, weights).sum().backward()
    assert locations.grad is None
    assert torch.equal(value.grad, expected[0])
    assert torch.equal(weights.grad, expected[1])
