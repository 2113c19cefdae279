"""A model in evaluation mode, beside the same model in training mode: what is shared, and what leads into the view."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import dsct
from dsct.modules.evaluating import evaluation_view

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class Half(nn.Module):
    """In training mode halves what it gets, in evaluation mode returns it."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2 if self.training else x * 1


def halving(found: Tensor) -> bool:
    return bool((found < 1).any())


class InList(Half):
    """Reaches a part of its own through containers."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Half()
        self.parts = [{"only": (self.part,)}]
        self.parts.append({"self": self.parts})  # type: ignore[dict-item]  # contains itself

    def forward(self, x: Tensor) -> Tensor:
        return self.parts[0]["only"][0](x)


class ByHook(Half):
    """Keeps what a hook, bound to it or closed over it, was given; then reads it."""

    def __init__(self, bound: bool) -> None:
        super().__init__()
        self.part, self.kept = Half(), torch.zeros(1)

        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.kept = output

        self.part.register_forward_hook(self._keep if bound else keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.kept = output

    def forward(self, x: Tensor) -> Tensor:
        self.part(x)
        return self.kept


class OwnMode(nn.Module):
    """Switches something of its own with its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.halves = True

    def train(self, mode: bool = True) -> OwnMode:
        self.halves = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x / 2 if self.halves else x


def replaced(by: Callable[[Half], Callable[[Tensor], Tensor]]) -> nn.Module:
    module = Half()
    module.forward = by(module)  # type: ignore[method-assign]
    return module


def closed_over(module: Half) -> Callable[[Tensor], Tensor]:
    original = module.forward

    def forward(x: Tensor) -> Tensor:
        return original(x)

    return forward


def by_default(module: Half) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor, original: Callable[[Tensor], Tensor] = module.forward) -> Tensor:
        return original(x)

    return forward


def compiled_in_place() -> nn.Module:
    module = Half()
    module.compile(backend="eager")
    return module


WAYS: dict[str, Callable[[], nn.Module]] = {
    "child": lambda: nn.Sequential(Half()),
    "containers": InList,
    "hook bound": lambda: ByHook(bound=True),
    "hook closed over": lambda: ByHook(bound=False),
    "bound method": lambda: replaced(lambda module: module.forward),
    "closure": lambda: replaced(closed_over),
    "default": lambda: replaced(by_default),
    "partial": lambda: replaced(lambda module: functools.partial(Half.forward, module)),
    "own mode": OwnMode,
    "compiled": lambda: torch.compile(Half(), backend="eager"),  # type: ignore[dict-item, return-value]
    "compiled in place": compiled_in_place,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_whatever_leads_to_a_module_leads_into_the_view(way: Callable[[], nn.Module]) -> None:
    model = way().train()
    x = torch.ones(2)
    assert halving(model(x))
    assert not halving(evaluation_view(model)(x))
    assert all(module.training for module in model.modules())
    assert halving(model(x))


def test_parameters_and_buffers_are_those_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train()
    view = evaluation_view(model)
    own, shared = model.state_dict(keep_vars=True), view.state_dict(keep_vars=True)
    assert own.keys() == shared.keys()
    assert all(shared[name] is tensor for name, tensor in own.items())
    before = view(torch.ones(2, 3))
    model.load_state_dict({name: tensor + 1 for name, tensor in own.items()}, assign=True)
    assert not torch.equal(view(torch.ones(2, 3)), before)
    assert torch.equal(view(torch.ones(2, 3)), model.eval()(torch.ones(2, 3)))


def test_statistics_and_power_iterations_stay_as_they_are() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), parametrizations.spectral_norm(nn.Linear(4, 4))).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluation_view(model)(torch.randn(8, 4))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    model(torch.randn(8, 4))
    assert not any(
        torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if "weight_u" in name
    )


def test_a_compiled_model_is_compiled_once_for_all_views() -> None:
    torch._dynamo.reset()  # type: ignore[no-untyped-call]  # what other tests compiled
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(1)
        return graph.forward

    model = Half().train()
    model.compile(backend=backend)
    for _ in range(4):
        assert not halving(evaluation_view(model)(torch.ones(2)) * 2 - model(torch.ones(2)) * 2)
    assert compiled == [1, 1], "in each mode"


def test_a_script_module_must_be_in_evaluation_mode() -> None:
    with pytest.warns((DeprecationWarning, FutureWarning), match="torch.jit.script"):
        scripted = torch.jit.script(nn.Sequential(nn.Dropout(0.9)))
    model = nn.Sequential(scripted).train()
    with pytest.raises(
        RuntimeError, match=r"0 must be in evaluation mode already, as it is a torch\.jit\.ScriptModule"
    ):
        evaluation_view(model)
    assert scripted.training
    scripted.eval()
    assert torch.equal(evaluation_view(model)(torch.ones(9)), torch.ones(9))
    assert model.training


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_model_computes_in_a_view_what_it_computes_in_evaluation_mode(dropout: float) -> None:
    torch.manual_seed(0)
    model = dsct.DSCT(dsct.DSCTConfig.tiny(dropout=dropout)).train()
    state = torch.get_rng_state()
    with torch.no_grad():
        found, _ = evaluation_view(model)(IMAGES, return_trace=True)
        assert torch.equal(torch.get_rng_state(), state)
        expected = model.eval()(IMAGES)
    for name in ("pred_logits", "pred_boxes"):
        assert torch.equal(found[name], expected[name])
        for one, other in zip(found["aux_outputs"], expected["aux_outputs"], strict=True):
            assert torch.equal(one[name], other[name])


def test_a_view_beside_training_leaves_dropout_on_and_has_none() -> None:
    torch.manual_seed(0)
    model = dsct.DSCT(dsct.DSCTConfig.tiny(dropout=0.5)).train()
    with torch.no_grad():
        expected = evaluation_view(model)(IMAGES)["pred_logits"]
    modes, ended = [], threading.Event()

    def predict() -> None:
        with torch.no_grad():
            while not ended.is_set():
                modes.append(torch.equal(evaluation_view(model)(IMAGES)["pred_logits"], expected))

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        trained = [model(IMAGES)["pred_logits"] for _ in range(8)]
    finally:
        ended.set()
        thread.join()
    assert modes
    assert all(modes), "what is predicted does not depend on the other thread"
    assert not any(torch.equal(logits, expected) for logits in trained), "dropout is on"
    assert all(logits.requires_grad for logits in trained)
