"""A run of seconds: what the tests of training share."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import torch

import dsct
from dsct.checkpoint import read_pickled_tensors
from dsct.config import DSCTConfig
from dsct.data import evaluation_transform, flip_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.train import TrainConfig, Trainer, seed_everything

MODEL = DSCTConfig.tiny(
    num_context_queries=6, num_subject_queries=3, k_spatial=3, k_semantic=2, enc_layers=1, dim_feedforward=32,
    dropout=0.1,
)  # fmt: skip
RECIPE = TrainConfig.tiny(epochs=2, batch_size=2, warmup_steps=2, log_every=1, seed=7)
TIMES = {"seconds", "images_per_second", "peak_memory_mb"}


class Interrupting:
    """A criterion that presses Ctrl-C, or breaks, at a given call."""

    def __init__(self, at: int, loss: float | None = None) -> None:
        self.criterion = dsct.SetCriterion(MODEL)
        self.calls = 0
        self.at = at
        self.loss = loss

    def __call__(self, outputs: Any, targets: Any, **num_boxes: float) -> Any:
        self.calls += 1
        losses = self.criterion(outputs, targets, **num_boxes)
        if self.calls == self.at and self.loss is None:
            signal.raise_signal(signal.SIGINT)
        if self.calls == self.at and self.loss is not None:
            losses["loss_ce"] = losses["loss_ce"] * self.loss
        return losses

    def total(self, losses: Any) -> Any:
        return self.criterion.total(losses)


def scenes(split: str, size: int) -> SyntheticDataset:
    transforms = flip_transform() if split == "train" else evaluation_transform(short_side=None)
    return SyntheticDataset(split, size, image_size=(64, 48), transforms=transforms)


def trainer(run_dir: Path, config: TrainConfig = RECIPE, criterion: Any = None, **options: Any) -> Trainer:
    seed_everything(config.seed)
    arguments = {"train_data": scenes("train", 7), "val_data": scenes("val", 3), "visible": False, **options}
    return Trainer(
        dsct.DSCT(MODEL), criterion or dsct.SetCriterion(MODEL), dsct.PostProcess(MODEL), config=config,
        run_dir=run_dir, **arguments,
    )  # fmt: skip


def final_state(run_dir: Path) -> dict[str, Any]:
    return read_pickled_tensors(run_dir / "last.pt")


def log_rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "log.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def log_lines(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def assert_same_run(first: Path, second: Path) -> None:
    a, b = final_state(first), final_state(second)
    assert a["model"].keys() == b["model"].keys()
    for name, tensor in a["model"].items():
        assert torch.equal(tensor, b["model"][name]), name
    for index, entry in a["optimizer"]["state"].items():
        assert all(torch.equal(value, b["optimizer"]["state"][index][key]) for key, value in entry.items())
    assert len(a["random"]) == len(b["random"])
    assert all(torch.equal(x["torch"], y["torch"]) for x, y in zip(a["random"], b["random"], strict=True))
    assert a["scheduler"] == b["scheduler"]
    assert log_rows(first) == log_rows(second)
    assert log_lines(first) == log_lines(second)
