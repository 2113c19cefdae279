"""`Trainer` in two processes: the run of one process, its files and its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsct.checkpoint import load_model
from dsct.train import Processes
from tests.train.processes import trainer_worker
from tests.train.processes.trainer_worker import RECIPES, STOPS
from tests.train.processes.two_processes import launch
from tests.train.training_run import assert_same_run, final_state, log_rows

SAME = {"epoch", "step", "lr", "is_best", "val_box_recall", "val_official_accuracy", "val_detection_mAP"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    launch(trainer_worker.__file__, folder)
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_run_equals_that_of_one_process(name: str, runs: Path, tmp_path: Path) -> None:
    trainer_worker.trainer(tmp_path / "alone", RECIPES[name], Processes()).fit()
    alone, together = log_rows(tmp_path / "alone"), log_rows(runs / name)
    assert len(together) == len(alone) == 2
    for one, two in zip(alone, together, strict=True):
        assert {key: one[key] for key in SAME} == {key: two[key] for key in SAME}
        for key in ("train_loss", "train_loss_bbox", "val_loss", "val_loss_giou"):
            assert float(two[key]) == pytest.approx(float(one[key]), rel=2e-3), key
    states = [final_state(run) for run in (tmp_path / "alone", runs / name)]
    assert states[0]["model"].keys() == states[1]["model"].keys()
    moved = torch.cat([(states[0]["model"][key] - tensor).flatten() for key, tensor in states[1]["model"].items()])
    assert moved.abs().mean() < 1e-5, "Adam turns rounding of tiny gradients into steps, but only of few weights"


def test_only_one_process_writes(runs: Path) -> None:
    names = {path.name for path in (runs / "ddp").iterdir()}
    assert names == {
        ".lock", "best.safetensors", "last.pt", "log.csv", "log.jsonl", "config.json", "curves.png", "tensorboard",
    }  # fmt: skip
    assert len((runs / "ddp" / "log.csv").read_text().splitlines()) == 3
    assert len(list((runs / "ddp" / "tensorboard").iterdir())) == 1
    assert len(final_state(runs / "ddp")["random"]) == 2


@pytest.mark.parametrize("name", RECIPES)
def test_weights_are_a_model_of_one_process(name: str, runs: Path) -> None:
    model = load_model(runs / name / "best.safetensors")
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert load_model(runs / name / "last.pt").config == model.config


@pytest.mark.parametrize("name", STOPS)
def test_a_signal_to_one_process_stops_all_and_the_run_goes_on_exactly(name: str, runs: Path) -> None:
    messages = {(runs / f"{name} stopped{rank}.txt").read_text() for rank in range(2)}
    assert len(messages) == 1
    where = "stopped in epoch 2 after step 3" if name == "ddp" else "stopped in epoch 1 after step 2"
    assert messages.pop().startswith(where), "at once, in an epoch and in validation"
    assert_same_run(runs / name, runs / f"{name} stopped")


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_loss_that_is_not_finite_in_one_process_ends_all_and_names_its_images(kind: str, runs: Path) -> None:
    other, own = ((runs / f"{kind} nan{rank}.txt").read_text() for rank in range(2))
    assert own.startswith("FloatingPointError: the loss is nan with the images [")
    assert "epoch 1, step 2" in own
    assert other.startswith(
        "FailedElsewhere: process 1 failed with FloatingPointError: the loss is nan with the images ["
    )


def test_a_run_is_resumed_only_with_as_many_processes(runs: Path) -> None:
    with pytest.raises(ValueError, match="as many processes as it began with: 2, got 1"):
        trainer_worker.trainer(runs / "ddp", RECIPES["ddp"], Processes()).fit(resume=True)
