"""Parameter groups, optimizers, schedules."""

from __future__ import annotations

import pytest
import torch

import dsct
from dsct.train import TrainConfig, build_scheduler, parameter_groups
from dsct.train.optimizer import build_optimizer, lr_factor
from tests.train.training_run import MODEL


def test_parameter_groups_cover_what_is_trained_once() -> None:
    model = dsct.DSCT(MODEL)
    frozen = next(model.parameters()).requires_grad_(False)
    config = TrainConfig(lr=1.0, lr_backbone_mult=0.1, lr_linear_proj_mult=0.2)
    groups = {group["name"]: group for group in parameter_groups(model, config)}
    assert {name: group["lr"] for name, group in groups.items()} == {"main": 1.0, "linear_proj": 0.2, "backbone": 0.1}
    members = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters() if p is not frozen)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    placing = {names[id(parameter)] for parameter in groups["linear_proj"]["params"]}
    expected = {name for name in names.values() if "sampling_offsets" in name or "reference_points" in name}
    assert placing == expected - {name for name, parameter in model.named_parameters() if parameter is frozen}
    assert {name.split(".")[-2] for name in placing} == {"sampling_offsets", "reference_points"}
    assert all(names[id(parameter)].startswith("backbone.") for parameter in groups["backbone"]["params"])
    with pytest.raises(ValueError, match="requires_grad"):
        parameter_groups(model.requires_grad_(False), config)


def test_schedules() -> None:
    step = lr_factor(TrainConfig(epochs=50, lr_drop=40), steps_per_epoch=10)
    assert [step(399), step(400)] == [1.0, 0.1]
    cosine = lr_factor(TrainConfig(epochs=10, schedule="cosine", warmup_steps=4), steps_per_epoch=10)
    assert cosine(0) == pytest.approx(0.2)
    assert cosine(50) == pytest.approx(0.5)
    assert cosine(100) == pytest.approx(0.0, abs=1e-12)
    config = TrainConfig(epochs=2, lr=1.0, lr_drop=1)
    optimizer = build_optimizer(torch.nn.Linear(1, 1), config)
    scheduler = build_scheduler(optimizer, config, steps_per_epoch=2)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [1.0, 1.0, 0.1, 0.1]


def test_optimizers() -> None:
    kinds = [type(build_optimizer(torch.nn.Linear(1, 1), TrainConfig(optimizer=name))) for name in ("adamw", "adam")]
    assert kinds == [torch.optim.AdamW, torch.optim.Adam]


def test_lr_grows_with_the_batch_when_asked() -> None:
    layer = torch.nn.Linear(1, 1)
    rates = [
        parameter_groups(layer, TrainConfig(lr=1e-4, batch_size=32, lr_batch_size=of))[0]["lr"] for of in (0, 4, 64)
    ]
    assert rates == pytest.approx([1e-4, 8e-4, 5e-5])
    assert build_optimizer(layer, TrainConfig(lr=1e-4, batch_size=32, lr_batch_size=4)).defaults["lr"] == 8e-4
