"""Classes that torch or others derive for single modules, before and after the exchange, copies and files of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.utils import parametrize

from dsct.interop.attention import accelerate_attention, exchanged_modules, restore_attention
from tests.interop.look_alikes import MSDeformAttn
from tests.interop.test_attention import QUERY, Doubled, Model, WithScale


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of this process only."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Mixin:
    """What someone derives a class from, beside that of the module."""

    def note(self) -> str:
        return "mine"


def mixed_in(model: Any) -> None:
    own: Any = type(model.attention)

    class Mixed(Mixin, own):  # type: ignore[misc]
        count = 0

        def extra_repr(self) -> str:
            return f"mixed, {super().extra_repr()}"

        @property
        def doubled(self) -> str:
            return 2 * super().note()

        @classmethod
        def named(cls) -> str:
            return f"{cls.__name__} of {super().__name__ if hasattr(super(), '__name__') else 'none'}"

    model.attention.__class__ = Mixed


def is_mixed(attention: Any) -> bool:
    assert isinstance(attention, Mixin)
    assert attention.note() == "mine"
    assert attention.doubled == "minemine"
    assert attention.named().startswith("Mixed of")
    return repr(attention).startswith("Mixed(\n  mixed, ")


def parametrized() -> Any:
    model: Any = Model(WithScale)
    parametrize.register_parametrization(model.attention, "scale", Doubled())
    return model


def test_a_mixin_after_the_exchange_stays_and_is_nobody_elses() -> None:
    model: Any = Model()
    accelerate_attention(model)
    mixed_in(model)
    other = Model()
    other.attention.__class__ = type(other.attention)
    accelerate_attention(other)
    other.attention.__class__ = type(model.attention)
    restore_attention(model)
    assert exchanged_modules(model) == []
    assert exchanged_modules(other) == [other.attention]
    assert is_mixed(model.attention)
    assert is_mixed(other.attention)
    assert type(model.attention).__mro__[2] is MSDeformAttn
    assert torch.equal(model(QUERY), Model()(QUERY))


def test_a_mixin_before_the_exchange() -> None:
    model: Any = Model()
    mixed_in(model)
    mixed = type(model.attention)
    assert accelerate_attention(model) == {"attention": "Deformable DETR"}
    assert is_mixed(model.attention)
    restore_attention(model)
    assert type(model.attention) is mixed


@pytest.mark.usefixtures("alone")
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view tensor")
@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_sharded_module_stays_sharded(early: bool) -> None:
    model, mesh = Model(), init_device_mesh("cpu", (1,))
    expected = model(QUERY)
    if early:
        fully_shard(model.attention, mesh=mesh)
        accelerate_attention(model, compare=False)
    else:
        accelerate_attention(model)
        fully_shard(model.attention, mesh=mesh)
    assert len(exchanged_modules(model)) == 1
    for _ in range(2):
        assert isinstance(model.attention, FSDPModule)
        model.attention.set_requires_all_reduce(True)
        torch.testing.assert_close(model(QUERY), expected, rtol=1e-4, atol=1e-5)
        restore_attention(model)
    assert exchanged_modules(model) == []


@pytest.mark.usefixtures("alone")
def test_a_sharded_parametrized_module() -> None:
    model = parametrized()
    expected, own = model(QUERY), type(model.attention)
    model.attention.__class__ = type("Further", (FSDPModule, own), {})
    assert accelerate_attention(model) == {"attention": "Deformable DETR"}
    torch.testing.assert_close(model(QUERY), expected, rtol=1e-4, atol=1e-5)
    restore_attention(model)
    assert type(model.attention).__mro__[:3] == (type(model.attention), FSDPModule, own)


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_deep_copy_of_a_parametrized_module_is_exchanged_alone(early: bool) -> None:
    model = parametrized()
    expected = model(QUERY)
    if early:
        accelerate_attention(model)
    twin = copy.deepcopy(model)
    assert len(exchanged_modules(twin)) == early
    (restore_attention if early else accelerate_attention)(twin)
    assert (len(exchanged_modules(model)), len(exchanged_modules(twin))) == (early, 1 - early)
    for each in (model, twin):
        torch.testing.assert_close(each(QUERY), expected, rtol=1e-4, atol=1e-5)
        parametrize.remove_parametrizations(each.attention, "scale", leave_parametrized=False)
        assert isinstance(each.attention.scale, nn.Parameter)
    restore_attention(nn.ModuleList([model, twin]))
    assert type(model.attention) is type(twin.attention) is WithScale


@pytest.mark.parametrize("use", [copy.copy, pickle.dumps], ids=["copy", "pickle"])
def test_a_parametrized_module_is_not_copied_and_torch_says_so(use: Any) -> None:
    model = parametrized()
    with pytest.raises(RuntimeError, match="Serialization of parametrized modules") as expected:
        use(model.attention)
    accelerate_attention(model)
    with pytest.raises(RuntimeError) as found:
        use(model.attention)
    assert str(found.value) == str(expected.value)


def test_copies_of_what_was_derived_after_the_exchange() -> None:
    model: Any = Model()
    accelerate_attention(model)
    mixed_in(model)
    assert is_mixed(copy.copy(model.attention))
    twin = copy.deepcopy(model)
    restore_attention(twin)
    assert is_mixed(twin.attention)
    assert len(exchanged_modules(model)) == 1
    with pytest.raises((pickle.PicklingError, AttributeError), match="Mixed"):
        pickle.dumps(model.attention)


@pytest.mark.parametrize(
    ("model", "keep", "message"),
    [
        (None, (), r"restore_attention: model must be a torch\.nn\.Module, got NoneType"),
        (nn.Identity(), nn.Sequential(nn.Identity()), "restore_attention: keep must be a list of modules, got Seq"),
        (nn.Identity(), 3, "restore_attention: keep must be a list of modules, got int"),
        (nn.Identity(), ["name"], "restore_attention: keep must be a list of modules, got one with str"),
    ],
)
def test_what_is_no_module_is_named(model: Any, keep: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        restore_attention(model, keep=keep)
