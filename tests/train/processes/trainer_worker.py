"""Runs of `Trainer` in two processes, started by `test_trainer_distributed.py` through torchrun."""

from __future__ import annotations

import dataclasses
import signal
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

import dsct
from dsct.train import Processes, TrainConfig, Trainer, class_weights, seed_everything
from tests.train.training_run import MODEL, RECIPE, scenes

CALM = dataclasses.replace(MODEL, dropout=0.0)
PLAIN = dataclasses.replace(RECIPE, batch_size=4, save_every=0)
RECIPES = {
    "ddp": PLAIN,
    # The last batch of 3 images leaves one process with one micro-batch and a stand-in.
    "ddp accumulated": dataclasses.replace(PLAIN, accumulation=2, ema=0.9),
    "ddp balanced": dataclasses.replace(
        PLAIN, class_weights="inverse", repeat_threshold=0.6, batching="aspect_ratio", on_error="skip"
    ),
    "fsdp": PLAIN,
    "fsdp accumulated": dataclasses.replace(PLAIN, accumulation=2, ema=0.9, activation_checkpointing=True),
}

#: The call of the criterion at which the first process is asked to stop. Of "ddp" and "fsdp", calls 1 and 2 are steps,
#: call 3 is in validation, call 4 is a step again. Of the other, calls 1 to 4 are two steps; then the first process has
#: two batches of validation and is asked in its last, when the second has had its only one and waits.
STOPS = {"ddp": 4, "fsdp": 3, "ddp accumulated": 6}


class Disturbed:
    """A criterion that in one process spoils the loss, or presses Ctrl-C, at a given call."""

    def __init__(self, at: int, what: str) -> None:
        self.criterion = dsct.SetCriterion(CALM)
        self.at, self.what, self.calls = at, what, 0

    def __call__(self, outputs: Any, targets: Any, *, num_boxes: float) -> Any:
        self.calls += 1
        losses = self.criterion(outputs, targets, num_boxes=num_boxes)
        if self.calls == self.at and self.what == "nan":
            losses["loss_ce"] = losses["loss_ce"] * float("nan")
        if self.calls == self.at and self.what == "stop":
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # torchrun passes on what a cluster sent to all
        return losses

    def total(self, losses: Any) -> Any:
        return self.criterion.total(losses)


def trainer(
    run_dir: Path, config: TrainConfig, processes: Processes, fsdp: bool = False, criterion: Any = None
) -> Trainer:
    seed_everything(config.seed)
    model = dsct.DSCT(CALM)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sampling_offsets" in name:
                # A fresh model samples at whole cells, where rounding alone turns gradients around.
                parameter.add_(0.05 * torch.randn_like(parameter))
    criterion = criterion or dsct.SetCriterion(CALM, class_weights(scenes("train", 7), config.class_weights))
    return Trainer(
        model, criterion, dsct.PostProcess(CALM), scenes("train", 7), scenes("val", 3), config, run_dir,
        visible=False, processes=processes, fsdp=fsdp,
    )  # fmt: skip


def main(folder: Path) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    with Processes.from_environment("cpu", timeout=timedelta(seconds=60)) as processes:
        for name, config in RECIPES.items():
            trainer(folder / name, config, processes, "fsdp" in name).fit()
        for name, call in STOPS.items():
            config, fsdp = RECIPES[name], "fsdp" in name
            disturbed = Disturbed(call if processes.rank == 0 else -1, "stop")
            try:
                trainer(folder / f"{name} stopped", config, processes, fsdp, disturbed).fit()
            except KeyboardInterrupt as error:
                (folder / f"{name} stopped{processes.rank}.txt").write_text(str(error))
            trainer(folder / f"{name} stopped", config, processes, fsdp).fit(resume=True)
        for kind in ("ddp", "fsdp"):
            fsdp = kind == "fsdp"
            try:
                trainer(
                    folder / f"{kind} nan", PLAIN, processes, fsdp, Disturbed(2 if processes.rank == 1 else -1, "nan")
                ).fit()
            except (FloatingPointError, RuntimeError) as error:
                (folder / f"{kind} nan{processes.rank}.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
