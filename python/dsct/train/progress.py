"""The progress of a run and its result; what follows from it: the best epoch, and whether the run is over."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

from dsct.metrics import Evaluation
from dsct.train.config import TrainConfig


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: epochs finished.
        position: batches done in the current epoch.
        step: optimizer steps done in total.
        best: highest headline value on validation data so far.
        best_recall: box recall of the epoch that reached it first, or later with a higher recall.
        best_epoch: that epoch, counted from 1.
        sums: sums of the losses in the current epoch, weighted by images.
        images: images trained on in the current epoch.
        people: people in them, at least a pixel large.
        seconds: time spent on them.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    best: float | None = None
    best_recall: float = math.inf
    best_epoch: int | None = None
    sums: dict[str, float] = field(default_factory=dict)
    images: int = 0
    people: int = 0
    seconds: float = 0.0

    def note_score(self, value: float, recall: float) -> bool:
        """Whether the epoch that ends is the best so far: of equal values that with more people found, else the first.

        Args:
            value: on validation data; NaN if there was nobody, and then the latest epoch is the best.
            recall: share of the people found.
        """
        is_best = self.best is None or not value <= self.best or (value == self.best and recall > self.best_recall)
        if is_best:
            self.best, self.best_recall, self.best_epoch = value, recall, self.epoch + 1
        return is_best

    def of_next_epoch(self) -> Progress:
        """The progress once the current epoch counts as finished."""
        return Progress(
            self.epoch + 1, step=self.step, best=self.best, best_recall=self.best_recall, best_epoch=self.best_epoch
        )

    def without_best(self, is_over: bool) -> Progress:
        """The progress of a run whose best weights are gone: the next epoch will be the best so far.

        Args:
            is_over: no epoch is left; one that has stopped early stays so.
        """
        best_epoch = self.best_epoch if is_over else None
        return dataclasses.replace(self, best=None, best_recall=math.inf, best_epoch=best_epoch)

    def has_stopped_early(self, config: TrainConfig) -> bool:
        """Whether the last ``early_stop`` epochs brought no improvement."""
        best = self.best_epoch
        return bool(config.early_stop) and best is not None and self.epoch - best >= config.early_stop

    def is_complete(self, config: TrainConfig) -> bool:
        """Whether no epoch is left."""
        return self.epoch >= config.epochs or self.has_stopped_early(config)

    def completeness(self, config: TrainConfig) -> str:
        """Says of a complete run how it would go on."""
        if self.epoch < config.epochs:
            return (
                f"the run has stopped early, after {self.epoch} of {config.epochs} epochs; early_stop larger than "
                f"{config.early_stop}, or 0, goes on"
            )
        how = "more epochs go on (--set epochs=N)"
        if config.schedule != "step":
            how = f"its {config.schedule} schedule has ended, so train longer in a new run from its weights"
        return f"the run is complete: {self.epoch} of {config.epochs} epochs are done; {how}"


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        run_dir: contains ``best.safetensors``, ``last.pt``, ``log.csv``, ``log.jsonl``, ``config.json``, ``curves.png``
            and, where TensorBoard is installed, its folder.
        best: highest headline value on the validation data.
        best_epoch: the epoch, counted from 1, that reached it.
        evaluation: of the last epoch; ``None`` when a run that was already complete is resumed.

    Example:
        >>> TrainResult(Path("run"), best=0.3, best_epoch=7, evaluation=None).best
        0.3
    """

    run_dir: Path
    best: float | None
    best_epoch: int | None
    evaluation: Evaluation | None
