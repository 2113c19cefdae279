"""Trainers that differ between two processes, started by `test_agreement.py` through torchrun; and the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

import dsct
from dsct.data.synthetic import SyntheticDataset
from dsct.train import Processes, TrainConfig, Trainer, seed_everything
from dsct.train.distributed import require_agreement
from tests.train.training_run import MODEL, RECIPE, scenes


def build(run_dir: Path, processes: Processes, **changes: Any) -> Trainer:
    seed_everything(changes.pop("weights_seed", 0))
    config: dsct.DSCTConfig = dataclasses.replace(MODEL, **changes.pop("model", {}))
    recipe: TrainConfig = dataclasses.replace(RECIPE, **changes.pop("recipe", {}))
    model = dsct.DSCT(config)
    data = {"train_data": scenes("train", 6), "val_data": scenes("val", 3), **changes}
    criterion, post_process = dsct.SetCriterion(config), dsct.PostProcess(config)
    return Trainer(
        model, criterion, post_process, data["train_data"], data["val_data"], recipe, run_dir, visible=False,
        processes=processes, callbacks=[],
    )  # fmt: skip


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
    "validation": {"val_data": scenes("train", 3)},
    "unreadable": {"val_data": Unreadable("val", 3)},
}


def disagree(run_dir: Path) -> None:
    with Processes.from_environment("cpu", timedelta(seconds=60)) as processes:
        said: dict[str, str] = {}
        for name, changes in CASES.items():
            try:
                build(run_dir / name, processes, **(changes if processes.rank else {}))
            except (ValueError, RuntimeError, OSError) as error:
                said[name] = f"{type(error).__name__}: {error}"
        build(run_dir / "own", processes, recipe={"workers": processes.rank})
        try:
            require_agreement(processes, {"class_names": ["a" * 60, "b" if processes.rank else "c"]})
        except ValueError as error:
            said["late in a list"] = f"{type(error).__name__}: {error}"
        try:
            build(run_dir / "resumed", processes).fit(resume=bool(processes.rank))
        except ValueError as error:
            said["resumed"] = f"{type(error).__name__}: {error}"
        (run_dir / f"{processes.rank}.json").write_text(json.dumps(said))


def die(run_dir: Path) -> None:
    """One process is killed in the middle; the other says so and ends."""
    with Processes.from_environment("cpu", timedelta(seconds=60)) as processes:
        trainer = build(run_dir, processes)
        if processes.rank:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            trainer.fit()
        except (ConnectionError, RuntimeError) as error:
            print(f"survivor: {type(error).__name__}: {error}", flush=True)


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
    {"disagree": disagree, "die": die, "late": late}[sys.argv[1]](Path(sys.argv[2]))
