"""One optimizer step: accumulation, mixed precision, moving average, checkpointing of activations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import dsct
from dsct.data import Batch, collate
from dsct.train import TrainConfig, seed_everything
from dsct.train.loading.sampling import collate_parts
from dsct.train.step import OptimizerStep, average_of
from tests.train.training_run import MODEL, scenes

PLAIN = dataclasses.replace(MODEL, dropout=0.0)
RECIPE = TrainConfig(lr=1e-3, clip=0.1)


def samples(images: int = 5) -> list[tuple[torch.Tensor, Any]]:
    data = scenes("val", images)
    return [data[i] for i in range(images)]


def step_of(config: TrainConfig, criterion: Any = None, model: torch.nn.Module | None = None) -> OptimizerStep:
    seed_everything(0)
    model = model if model is not None else dsct.DSCT(PLAIN)
    return OptimizerStep(model.train(), criterion or dsct.SetCriterion(PLAIN), config, 10)


def seeded_model(**changes: Any) -> dsct.DSCT:
    seed_everything(0)
    return dsct.DSCT(dataclasses.replace(PLAIN, **changes))


def off_the_grid(model: dsct.DSCT) -> dsct.DSCT:
    """A fresh model samples at whole cells, where the gradient of interpolation jumps by rounding alone."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sampling_offsets" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def weights(step: OptimizerStep) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in step.model.named_parameters()}


@pytest.mark.parametrize("parts", [2, 3, 5, 8])
def test_micro_batches_make_the_step_of_the_whole_batch(parts: int) -> None:
    whole, divided = (step_of(RECIPE, model=off_the_grid(seeded_model()).double()) for _ in range(2))
    images = [(image.double(), {**target, "boxes": target["boxes"].double()}) for image, target in samples()]
    expected = whole([collate(images)])
    found = divided(collate_parts(images, parts))
    assert found == pytest.approx(expected, rel=1e-9)
    # Gradients, not weights: Adam magnifies the rounding of tiny gradients.
    for (name, one), two in zip(whole.model.named_parameters(), divided.model.parameters(), strict=True):
        if one.grad is not None:
            assert two.grad is not None
            assert (one.grad - two.grad).norm() <= 1e-9 * one.grad.norm() + 1e-12, name


def test_micro_batches_without_people_count_nothing() -> None:
    images = samples(4)
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    images[2:] = [(image, {**target, **empty}) for image, target in images[2:]]
    expected = step_of(RECIPE)([collate(images)])
    assert step_of(RECIPE)(collate_parts(images, 2)) == pytest.approx(expected, rel=1e-4)


def test_activation_checkpointing_changes_no_bit_of_the_step() -> None:
    # With dropout: the second computation must draw the same numbers.
    steps = [step_of(RECIPE, model=seeded_model(dropout=0.2)) for _ in range(2)]
    steps[1].model.set_activation_checkpointing()  # type: ignore[operator]
    losses = []
    for step in steps:
        torch.manual_seed(1)
        losses.append(step([collate(samples())]))
    assert losses[0] == losses[1]
    first, second = (weights(step) for step in steps)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_steps_near_float32_and_keeps_float32_weights(precision: str) -> None:
    expected = step_of(RECIPE)
    half = step_of(dataclasses.replace(RECIPE, precision=precision))
    losses = [step([collate(samples())]) for step in (expected, half)]
    assert losses[1]["loss"] == pytest.approx(losses[0]["loss"], rel=0.03)
    assert losses[1]["loss"] != losses[0]["loss"]
    assert {value.dtype for value in weights(half).values()} == {torch.float32}
    assert half.scaler.is_enabled() == (precision == "float16")


def test_gradients_are_clipped_to_the_norm_of_the_recipe() -> None:
    def norm_after(clip: float) -> float:
        step = step_of(dataclasses.replace(RECIPE, clip=clip))
        step([collate(samples())])
        gradients = [parameter.grad for parameter in step.model.parameters() if parameter.grad is not None]
        return float(torch.stack([gradient.norm() for gradient in gradients]).norm())

    free = norm_after(0.0)
    assert free > 1.0
    assert norm_after(0.1) == pytest.approx(0.1, rel=1e-4)
    assert norm_after(free * 2) == pytest.approx(free, rel=1e-4)


@pytest.mark.parametrize("name", ["pred_logits", "pred_boxes"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_and_boxes_must_both_be_finite(name: str, value: float) -> None:
    step = step_of(RECIPE)

    def spoil(module: Any, arguments: Any, outputs: Any) -> Any:
        spoilt = outputs[name].clone()
        spoilt.view(-1)[3] = value
        return {**outputs, name: spoilt}

    step.model.register_forward_hook(spoil)
    with pytest.raises(FloatingPointError, match=r"predictions are not finite with the images \[0, 1, 2, 3, 4\]"):
        step([collate(samples())])


def test_an_overflowing_float16_gradient_skips_the_step_and_lowers_the_scale() -> None:
    class Huge:
        def __init__(self) -> None:
            self.criterion = dsct.SetCriterion(PLAIN)

        def __call__(self, outputs: Any, targets: Any, *, num_boxes: float) -> Any:
            return self.criterion(outputs, targets, num_boxes=num_boxes)

        def total(self, losses: Any) -> Any:
            return self.criterion.total(losses) * 1e34

    step = step_of(dataclasses.replace(RECIPE, precision="float16", ema=0.9), Huge())
    before, scale = weights(step), step.scaler.get_scale()
    step([collate(samples())])
    assert step.scaler.get_scale() < scale
    assert all(torch.equal(value, before[name]) for name, value in weights(step).items())
    assert step.scheduler.last_epoch == 0
    assert step.average is not None
    assert int(step.average.n_averaged) == 0


def test_average_follows_its_definition() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = average_of(layer, decay=0.5)
    expected = None
    for done, value in enumerate([1.0, 2.0, -4.0, 3.0]):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update_parameters(layer)
        decay = min(0.5, (1 + done) / (10 + done))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert float(average.module.weight) == pytest.approx(expected)
    assert not average.module.weight.requires_grad


def test_average_keeps_the_heads_shared() -> None:
    average = average_of(seeded_model(), 0.9)
    heads = average.module.class_embed_dsct
    assert heads[0] is heads[1]
    assert average.module.state_dict().keys() == seeded_model().state_dict().keys()


def test_state_round_trip_goes_on_equally() -> None:
    config = dataclasses.replace(RECIPE, ema=0.9, precision="float16")
    first, second = step_of(config), step_of(config)
    batch: list[Batch] = [collate(samples())]
    first(batch)
    first.scaler.update(new_scale=512.0)
    second.load_state_dict(first.state_dict())
    assert second.scaler.get_scale() == 512.0
    assert second.scaler.state_dict() == first.scaler.state_dict()
    assert first(batch) == second(batch)
    assert first.average is not None
    assert second.average is not None
    for a, b in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)
