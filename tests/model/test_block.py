"""What a block hands to the native code: its tensors of this moment, under their state-dict names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import dsct
from dsct.modules.block import Block
from tests.comparison import small


class Nested(Block):
    """Parameters and buffers at two depths, an absent bias, an absent child, a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2))
        self.register_parameter("bias", None)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("scratch", torch.ones(1), persistent=False)
        self.inner = nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3))
        self.absent: nn.Module | None
        self.register_module("absent", None)


def test_names_are_those_of_the_state_dict() -> None:
    block = Nested()
    tensors = block.tensors()
    assert tensors.keys() == block.state_dict().keys() | {"scratch"}
    for name, tensor in {**dict(block.named_parameters()), **dict(block.named_buffers())}.items():
        assert tensors[name] is tensor


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_every_parameter_of_a_layer_is_handed_over(part: str) -> None:
    layer = getattr(dsct.DSCT(small()).transformer, part).layers[0]
    assert layer.tensors().keys() == layer.state_dict().keys()


def test_nothing_is_kept_between_calls() -> None:
    block = Nested()
    before = block.tensors()
    block.weight = nn.Parameter(torch.full((2,), 7.0))
    block.inner[0] = nn.Linear(2, 3)
    after = block.tensors()
    assert after["weight"] is block.weight
    assert after.keys() - before.keys() == {"inner.0.bias"}


class Doubled(nn.Module):
    def forward(self, tensor: Tensor) -> Tensor:
        return 2 * tensor


def test_parametrized_tensors_are_handed_over_as_computed() -> None:
    block = Nested()
    weight, inner = block.weight.detach().clone(), block.inner[0].weight.detach().clone()
    parametrize.register_parametrization(block, "weight", Doubled())
    parametrizations.weight_norm(block.inner[0])
    tensors = block.tensors()
    assert tensors.keys() == Nested().tensors().keys()
    assert torch.equal(tensors["weight"], 2 * weight)
    torch.testing.assert_close(tensors["inner.0.weight"], inner)
    tensors["inner.0.weight"].sum().backward()
    assert block.inner[0].parametrizations.weight.original1.grad is not None
