"""Tensors whose numbers cannot be read: inside ``torch.func``, on the device "meta", or of a tracer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, functionalize, grad, jvp, vjp, vmap

import dsct
from tests.comparison import small

#: torch warns of itself when forward mode is used first.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

CFG = dsct.DSCTConfig.tiny()
LOGITS, BOXES = torch.zeros(1, 2, 7), torch.tensor([[[0.2] * 4, [0.6] * 4]])
OUTPUTS = {"pred_logits": LOGITS, "pred_boxes": BOXES}
TARGET = {"labels": torch.tensor([3]), "boxes": torch.tensor([[0.6, 0.6, 0.5, 0.5]])}
SIZES = torch.tensor([[10, 20]])

Call = Callable[[dict[str, Any], dict[str, Tensor]], object]
criterion = dsct.SetCriterion(CFG)
CALLS: dict[str, Call] = {
    "SetCriterion": lambda outputs, target: criterion.total(criterion(outputs, [target])),
    "HungarianMatcher": lambda outputs, target: criterion.matcher(outputs, [target])[0][0].sum(),
}
TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Any], Tensor], object]] = {
    "grad": lambda function, x: grad(function)(x),
    "vjp": lambda function, x: vjp(function, x),
    "jvp": lambda function, x: jvp(function, (x,), (x,)),
    "vmap": lambda function, x: vmap(function)(x[None]),
    "vmap(grad)": lambda function, x: vmap(grad(function))(x[None]),
    "functionalize": lambda function, x: functionalize(function)(x),
}
PLACES: dict[str, tuple[Tensor, str, Callable[[Tensor], tuple[dict[str, Any], dict[str, Tensor]]]]] = {
    "logits": (LOGITS, r'outputs\["pred_logits"\]', lambda x: ({**OUTPUTS, "pred_logits": x}, TARGET)),
    "boxes": (BOXES, r'outputs\["pred_boxes"\]', lambda x: ({**OUTPUTS, "pred_boxes": x}, TARGET)),
    "true boxes": (TARGET["boxes"], r'targets\[0\]\["boxes"\]', lambda x: (OUTPUTS, {**TARGET, "boxes": x})),
}
HIDDEN = (
    r"^criterion: {} must hold the numbers that matching reads, got a tensor inside a transform of torch\.func .*match "
    r"outside \(HungarianMatcher\), or use torch\.autograd\.grad or loss\.backward\(\) for gradients$"
)
META = r'^{} must hold the numbers that {} reads, got a tensor on the device "meta", which has none$'


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_inside_a_transform(call: str, place: str, transform: str) -> None:
    value, name, arguments = PLACES[place]
    with pytest.raises(NotImplementedError, match=HIDDEN.format(name)):
        TRANSFORMS[transform](lambda x: CALLS[call](*arguments(x)), value)


def test_a_loss_of_a_whole_model_inside_grad() -> None:
    cfg = small()
    model, loss = dsct.DSCT(cfg).eval(), dsct.SetCriterion(cfg)
    target = {"labels": torch.zeros(1, cfg.num_classes), "boxes": torch.full((1, 4), 0.5)}
    if not cfg.multi_label:
        target["labels"] = torch.zeros(1, dtype=torch.int64)
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def of(parameters: dict[str, Tensor]) -> Tensor:
        return loss.total(loss(functional_call(model, parameters, (torch.zeros(1, 3, 64, 64),)), [target]))

    with pytest.raises(NotImplementedError, match=HIDDEN.format(r'aux_outputs\[0\]\["pred_logits"\]')):
        grad(of)(parameters)


def test_what_the_sentence_advises_works() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = CALLS["SetCriterion"]({**OUTPUTS, "pred_logits": logits}, TARGET)
    assert isinstance(loss, Tensor)
    (expected,) = torch.autograd.grad(loss, logits, retain_graph=True)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, expected)
    ((queries, subjects),) = criterion.matcher(OUTPUTS, [TARGET])

    def matched(boxes: Tensor) -> Tensor:
        return (boxes[0, queries] - TARGET["boxes"][subjects]).abs().sum()

    assert int(grad(matched)(BOXES).count_nonzero()) == 2


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_on_meta_alone_or_beside_others(call: str, place: str) -> None:
    value, name, arguments = PLACES[place]
    with pytest.raises(NotImplementedError, match=META.format(f"criterion: {name}", "matching")):
        CALLS[call](*arguments(value.to("meta")))


@pytest.mark.parametrize("call", CALLS)
def test_all_on_meta(call: str) -> None:
    outputs, target = ({key: each.to("meta") for key, each in given.items()} for given in (OUTPUTS, TARGET))
    with pytest.raises(NotImplementedError, match=META.format(r'criterion: outputs\["pred_logits"\]', "matching")):
        CALLS[call](outputs, target)


def test_class_weights_on_meta() -> None:
    said = META.format("criterion: class_weights", "matching")
    with pytest.raises(NotImplementedError, match=said):
        dsct.SetCriterion(CFG, [1.0] * 7).to("meta")(OUTPUTS, [TARGET])
    with pytest.raises(NotImplementedError, match=said):
        dsct.SetCriterion(CFG, torch.ones(7, device="meta"))


def test_fake_tensors() -> None:
    said = r'^criterion: outputs\["pred_logits"\] must hold .*, got a FakeTensor, which has none$'
    with FakeTensorMode() as mode, pytest.raises(NotImplementedError, match=said):
        criterion({key: mode.from_tensor(each) for key, each in OUTPUTS.items()}, [TARGET])
    with pytest.raises(NotImplementedError, match=r"^PostProcess: pred_logits must hold .*, got a FakeTensor"):
        torch.export.export(dsct.PostProcess(CFG), (OUTPUTS, SIZES))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_people_inside_a_transform(transform: str) -> None:
    process = dsct.PostProcess(CFG)
    said = r"^PostProcess: pred_logits must hold .* inside a transform of torch\.func .*: call it on what"
    with pytest.raises(NotImplementedError, match=said):
        TRANSFORMS[transform](lambda x: process({**OUTPUTS, "pred_logits": x}, SIZES)[0]["scores"].sum(), LOGITS)


@pytest.mark.parametrize("place", ["pred_logits", "pred_boxes", "target_sizes"])
def test_people_on_meta(place: str) -> None:
    given = {**OUTPUTS, "target_sizes": SIZES}
    given[place] = given[place].to("meta")
    with pytest.raises(NotImplementedError, match=META.format(f"PostProcess: {place}", "PostProcess")):
        dsct.PostProcess(CFG)(given, given["target_sizes"])


def test_a_compiled_criterion_stays_as_it_was() -> None:
    compiled = torch.compile(criterion, backend="eager")
    with pytest.warns(UserWarning, match="Dynamo does not know how to trace"):
        found = compiled(OUTPUTS, [TARGET])
    assert torch.equal(criterion.total(found), criterion.total(criterion(OUTPUTS, [TARGET])))
