"""What a run leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsct.metrics import Evaluation


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
