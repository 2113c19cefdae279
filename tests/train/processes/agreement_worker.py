"""Trainers that differ between two processes, started by `test_agreement.py` through torchrun; and the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import distributed

import dsct
from dsct.data.synthetic import SyntheticDataset
from dsct.train import Processes, TrainConfig, Trainer, seed_everything
from tests.train.training_run import MODEL, RECIPE, scenes


def build(run_dir: Path, processes: Processes | None, **changes: Any) -> Trainer:
    seed_everything(changes.pop("weights_seed", 0))
    frozen: str = changes.pop("frozen", "")
    weighted: list[float] | None = changes.pop("class_weights", None)
    version: str = changes.pop("version", torch.__version__)
    config: dsct.DSCTConfig = dataclasses.replace(MODEL, **changes.pop("model", {}))
    recipe: TrainConfig = dataclasses.replace(RECIPE, **changes.pop("recipe", {}))
    model = dsct.DSCT(config)
    data = {"train_data": scenes("train", 6), "val_data": scenes("val", 3), **changes}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name != frozen)
    criterion, post_process = dsct.SetCriterion(config, weighted), dsct.PostProcess(config)
    with mock.patch.object(torch, "__version__", version):
        return Trainer(
            model, criterion, post_process, data["train_data"], data["val_data"], recipe, run_dir, visible=False,
            processes=processes, callbacks=[],
        )  # fmt: skip


class Unknown(SyntheticDataset):
    """Without a fingerprint, with classes whose names may differ late."""

    fingerprint = None  # type: ignore[assignment]
    last = "first name"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.class_names = (*self.class_names[:-1], self.last)


class Renamed(Unknown):
    last = "another name"


class Unreadable(SyntheticDataset):
    @property
    def fingerprint(self) -> str:
        raise OSError("the annotations cannot be read")


#: What the second process has otherwise.
CASES: dict[str, dict[str, Any]] = {
    "lr": {"recipe": {"lr": 1e-5}},
    "seed": {"recipe": {"seed": 5}},
    "save_every": {"recipe": {"save_every": 7}},
    "model": {"model": {"dropout": 0.3}},
    "architecture": {"model": {"dec_layers": 1}},
    "weights": {"weights_seed": 1},
    "one image more": {"train_data": scenes("train", 7)},
    "a third fewer": {"train_data": scenes("train", 4)},
    "frozen": {"frozen": "transformer.level_embed"},
    "class weights": {"class_weights": [1.0] * 6 + [2.0]},
    "version": {"version": "2.0.0"},
    "test data": {"val_data": scenes("test", 3)},
    "validation": {"val_data": scenes("train", 3)},
    "unreadable": {"val_data": Unreadable("val", 3)},
}


def disagree(run_dir: Path) -> None:
    with Processes.from_environment("cpu", timedelta(seconds=60)) as processes:
        said: dict[str, str] = {}
        for name, changes in CASES.items():
            first = {"class_weights": [1.0] * 7} if name == "class weights" else {}
            try:
                build(run_dir / name, processes, **(changes if processes.rank else first))
            except (ValueError, RuntimeError, OSError) as error:
                said[name] = f"{type(error).__name__}: {error}"
        names = (Renamed if processes.rank else Unknown)("train", 6)
        trials: dict[str, Callable[[], object]] = {
            "class names": lambda: build(run_dir / "names", processes, train_data=names),
            "resume": lambda: build(run_dir / "resume", processes).fit(resume=bool(processes.rank)),
        }
        for name, trial in trials.items():
            try:
                trial()
            except ValueError as error:
                said[name] = f"{type(error).__name__}: {error}"
        build(run_dir / "own", processes, recipe={"workers": processes.rank})
        (run_dir / f"{processes.rank}.json").write_text(json.dumps(said))


def die(run_dir: Path) -> None:
    """One process is killed after two steps; the other says so and ends."""
    with Processes.from_environment("cpu", timedelta(seconds=60)) as processes:
        trainer = build(run_dir, processes)
        passes = iter(range(2))

        def deadly(*_: object) -> None:
            # Before the backward pass: the other waits inside torch, not in an exchange of ours.
            if next(passes, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        if processes.rank:
            trainer.model.register_forward_hook(deadly)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which may come before the sentence
        try:
            trainer.fit()
        except ConnectionError as error:
            print(f"survivor: {error}", flush=True)


def own_group(run_dir: Path) -> None:
    """A process group of the caller is used, by default and if it is asked for, and stays."""
    distributed.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank = distributed.get_rank()
    seed_everything(0)
    try:
        build(run_dir, None, recipe={"lr": 1e-3 + rank})
    except ValueError as error:
        print(f"\nrefused: {error}", flush=True)
    with Processes.from_environment("cpu") as processes:
        together = processes.world_size
    build(run_dir, None).fit()
    print(f"\n{together} together, group stays: {distributed.is_initialized()}", flush=True)
    distributed.destroy_process_group()


def late(run_dir: Path) -> None:
    """One process is later than the limit."""
    with Processes.from_environment("cpu", timedelta(seconds=3)) as processes:
        if processes.rank:
            time.sleep(8)
        try:
            processes.all_gather(processes.rank)
        except ConnectionError as error:
            print(f"waited: {error}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"disagree": disagree, "die": die, "late": late, "own_group": own_group}[sys.argv[1]](Path(sys.argv[2]))
