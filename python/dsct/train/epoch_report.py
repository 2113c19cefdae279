"""What an epoch is reported as: a row of the log, and a line on the terminal."""

from __future__ import annotations

import re
from typing import Any

from dsct.metrics import ProtocolResult
from dsct.train.progress import Progress
from dsct.train.validation import Validation


def epoch_record(
    progress: Progress, validation: Validation, lr: float, is_best: bool, skipped: int, memory: int
) -> dict[str, Any]:
    """The row of ``log.csv``.

    Args:
        progress: at the end of the epoch, before the next one is counted.
        validation: of the epoch.
        lr: the learning rate after it.
        is_best: whether it is the best epoch so far.
        skipped: images of both splits that cannot be read.
        memory: the most bytes in use so far.
    """
    losses = train_losses(progress)
    return {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "lr": lr,
        **{f"train_{name}": value for name, value in losses.items() if _is_last_layer(name)},
        **{f"val_{name}": value for name, value in validation.losses.items() if _is_last_layer(name)},
        **{f"val_{name}": value for name, value in validation.evaluation.to_dict().items()},
        **validation.shares,
        "is_best": int(is_best),
        "skipped_images": skipped,
        "images_per_second": round(progress.images / progress.seconds, 2),
        "peak_memory_mb": round(memory / 1e6),
        "seconds": round(progress.seconds, 2),
    }


def train_losses(progress: Progress) -> dict[str, float]:
    """Mean over the images of the epoch."""
    return {name: value / progress.images for name, value in progress.sums.items()}


def epoch_line(
    name: str, progress: Progress, validation: Validation, score: ProtocolResult, is_best: bool, skipped: int
) -> str:
    """One line on the terminal about an epoch called `name`."""
    return "  ".join(
        [
            name,
            f"loss {train_losses(progress)['loss']:.3f}",
            f"val loss {validation.losses['loss']:.3f}",
            f"{score.protocol} {score.metric} {score.value:.2%} (chance {score.chance:.1%})",
            f"box recall {validation.evaluation.box_recall:.2%}",
            *([f"{skipped} {'image' if skipped == 1 else 'images'} skipped"] if skipped else []),
            *(["best"] if is_best else []),
        ]
    )


def _is_last_layer(name: str) -> bool:
    """The names of losses of earlier decoder layers end in a number; they are in the step log, not in the epoch log."""
    return re.search(r"_\d+$", name) is None
