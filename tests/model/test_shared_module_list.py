"""One module at several places: registered once, listed in the state dict under every name, read from any of them."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import dsct
from dsct.modules.heads import BoxEmbed
from dsct.modules.shared_module_list import SharedModuleList
from tests.comparison import assert_same, small

State = dict[str, Tensor]


def shared() -> SharedModuleList:
    return SharedModuleList([BoxEmbed(4)] * 3)


class Twice(nn.Module):
    """As torch lists a module that stands at several places."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.heads = nn.ModuleList([module] * 3)


class Once(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.heads = SharedModuleList([module] * 3)


@pytest.mark.parametrize("keep_vars", [True, False])
@pytest.mark.parametrize("prefix", ["", "outer."])
def test_the_state_dict_is_that_of_a_module_list(prefix: str, keep_vars: bool) -> None:
    module = BoxEmbed(4)
    ours, torchs = (
        parent(module).state_dict(prefix=prefix, keep_vars=keep_vars, destination={"first": 1})
        for parent in (Once, Twice)
    )
    assert list(ours) == list(torchs)
    assert_same(
        {name: ours[name] for name in ours if name != "first"}, {n: t for n, t in torchs.items() if n != "first"}
    )
    assert all(isinstance(tensor, nn.Parameter) == keep_vars for tensor in list(ours.values())[1:])
    if keep_vars:
        assert all(ours[name] is torchs[name] for name in ours)


def test_every_module_has_one_name() -> None:
    modules = shared()
    assert [name for name, _ in modules.named_children()] == ["0"]
    assert len(list(modules.named_parameters(remove_duplicate=False))) == len(list(modules.parameters())) == 6
    assert (len(modules), len(list(modules)), modules[2] is modules[-3] is modules[0]) == (3, 3, True)


def test_a_place_may_get_a_module_of_its_own() -> None:
    modules = shared()
    first, own = modules[0], BoxEmbed(4)
    modules[1] = own
    assert list(modules) == [first, own, first]
    assert [name for name, _ in modules.named_children()] == ["0", "1"]
    modules[0] = own
    assert list(modules) == [own, own, first]
    assert [name for name, _ in modules.named_children()] == ["0", "2"]
    expected = nn.ModuleList(list(modules)).state_dict(keep_vars=True)
    assert list(modules.state_dict()) == list(expected)
    assert all(tensor is expected[name] for name, tensor in modules.state_dict(keep_vars=True).items())


def renamed(state: State, places: str) -> State:
    """The tensors of the first place under the names of other ones."""
    return {place + name[1:]: tensor for place in places for name, tensor in state.items() if name[0] == "0"}


@pytest.mark.parametrize("places", ["012", "0", "2", "21"])
@pytest.mark.parametrize("assign", [True, False])
def test_a_state_dict_may_hold_any_of_the_names(places: str, assign: bool) -> None:
    donor, modules = shared(), shared()
    given = renamed({name: tensor + 1 for name, tensor in donor.state_dict().items()}, places)
    before = dict(given)
    report = modules.load_state_dict(given, strict=True, assign=assign)
    assert not report.missing_keys
    assert not report.unexpected_keys
    assert given == before, "the caller's own dictionary stays as it is"
    assert_same(dict(modules[1].state_dict()), {name: t + 1 for name, t in donor[0].state_dict().items()}, 0.0)


def test_names_that_differ_or_are_unknown_are_refused() -> None:
    parent = Once(BoxEmbed(4))
    state = {name: tensor.clone() for name, tensor in parent.state_dict().items()}
    state["heads.2.layers.1.bias"] += 1
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=r"heads\.2\.layers\.1\.bias is not heads\.0\.layers\.1\.bias"):
            parent.load_state_dict(state, strict=strict)
    state = {**parent.state_dict(), "heads.3.layers.1.bias": torch.zeros(4)}
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "heads\.3\.layers\.1\.bias"'):
        parent.load_state_dict(state)
    missing = {name: tensor for name, tensor in parent.state_dict().items() if "layers.1.bias" not in name}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "heads\.0\.layers\.1\.bias"'):
        parent.load_state_dict(missing)


def test_a_value_that_is_not_a_number_is_itself() -> None:
    modules = shared()
    with torch.no_grad():
        modules[0].layers[0].bias.fill_(torch.nan)
    modules.load_state_dict({name: tensor.clone() for name, tensor in modules.state_dict().items()})


def test_on_no_device() -> None:
    with torch.device("meta"):
        modules = shared()
    modules.load_state_dict({name: tensor.clone() for name, tensor in modules.state_dict().items()})
    modules.load_state_dict(
        {name: torch.ones(tensor.shape) for name, tensor in modules.state_dict().items()}, assign=True
    )
    assert modules[2].layers[0].bias.sum() == 4


def by_save(modules: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(modules, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda modules: pickle.loads(pickle.dumps(modules)), by_save])
def test_copies_are_whole(copied: Callable[[nn.Module], Any]) -> None:
    modules = shared()
    other = copied(modules)
    assert other[0] is other[2]
    assert other[0] is not modules[0]
    other.load_state_dict({name: tensor + 1 for name, tensor in modules.state_dict().items()})
    assert_same(dict(other.state_dict()), {name: tensor + 1 for name, tensor in modules.state_dict().items()}, 0.0)
    other[1] = BoxEmbed(4)
    assert len(modules.state_dict()) == len(other.state_dict()) == 18
    assert len(list(modules.parameters())) == 6


def test_a_parametrized_head_has_all_its_names() -> None:
    module = BoxEmbed(4)
    parametrizations.weight_norm(module.layers[1])
    parent = Once(module)
    state = parent.state_dict()
    assert list(state) == list(Twice(module).state_dict())
    assert "heads.2.layers.1.parametrizations.weight.original0" in state
    parent.load_state_dict({name: tensor.clone() for name, tensor in state.items()})


def test_a_model_finds_its_heads_under_every_name_of_its_state_dict() -> None:
    model = dsct.DSCT(small())
    assert model.get_submodule("class_embed_dsct.1") is model.class_embed_dsct[0]
    state = model.state_dict(keep_vars=True)
    assert all(model.get_parameter(name) is tensor for name, tensor in state.items())
    for name in ("class_embed_dsct.2", "class_embed_dsct.1.other", "class_embed_dsct.layers"):
        with pytest.raises(AttributeError, match="has no attribute"):
            model.get_submodule(name)


def test_a_slice_shares_as_the_list_does() -> None:
    heads = shared()
    part = heads[1:]
    assert len(part) == 2
    assert part[0] is part[1] is heads[0]
    assert [name for name, _ in part.named_children()] == ["0"]


def test_a_module_that_is_set_under_a_further_name_stands_there() -> None:
    heads, other = shared(), BoxEmbed(4)
    first = heads[0]
    setattr(heads, "1", other)
    assert [module is other for module in heads] == [False, True, False]
    assert heads[2] is first
    assert heads.state_dict(keep_vars=True)["1.layers.0.weight"] is other.layers[0].weight


def test_what_is_no_module_changes_nothing() -> None:
    heads = shared()
    names = list(heads.state_dict())
    for value in (3, None):
        with pytest.raises(TypeError, match=r"modules must be nn\.Module, got"):
            heads[0] = value  # type: ignore[assignment]
    assert list(heads.state_dict()) == names


def test_the_state_dict_has_what_the_list_holds_besides_its_modules() -> None:
    heads = shared()
    heads.register_buffer("scale", torch.ones(2))
    heads.add_module("extra", nn.Linear(2, 1))
    state = heads.state_dict()
    assert {"scale", "extra.weight", "2.layers.0.weight"} <= set(state)
    heads.load_state_dict(state)
