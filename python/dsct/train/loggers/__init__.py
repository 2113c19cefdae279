"""Where a run reports to: its own files, and services that watch it."""

from __future__ import annotations

from collections.abc import Sequence

from dsct.train.loggers.callback import Callback, RunInfo
from dsct.train.loggers.mlflow_run import MLflow
from dsct.train.loggers.tensorboard import TensorBoard
from dsct.train.loggers.wandb_run import WandB

LOGGERS: dict[str, type[Callback]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def named_loggers(names: Sequence[str]) -> list[Callback]:
    """The loggers of these names.

    Args:
        names: of ``"tensorboard"``, ``"wandb"`` and ``"mlflow"``.

    Raises:
        ValueError: a name is unknown.
        ImportError: a package is missing; the message names the extra that brings it.

    Example:
        >>> named_loggers([])
        []
    """
    for name in names:
        if name not in LOGGERS:
            raise ValueError(f"a run can be logged to {', '.join(LOGGERS)}, got {name!r}")
    return [LOGGERS[name]() for name in names]


__all__ = ["Callback", "MLflow", "RunInfo", "TensorBoard", "WandB", "named_loggers"]
