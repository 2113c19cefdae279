"""What may watch a run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunInfo:
    """The run that begins or goes on.

    Attributes:
        run_dir: its folder.
        config: what ``config.json`` contains: ``model``, ``train``, ``data`` and more.
        resumed_at: optimizer steps that were done before; ``None`` for a new run. What was logged after them by a run
            that was stopped will be logged again.

    Example:
        >>> RunInfo(Path("runs/mine"), {}, None).run_dir.name
        'mine'
    """

    run_dir: Path
    config: Mapping[str, Any]
    resumed_at: int | None


class Callback:
    """Is told what happens in a run; override what you need. Only the main process calls it.

    Records are flat: numbers by name, with ``step``, the optimizer steps done, and ``epoch``, from 1.

    An exception in ``on_start`` stops the run before its first step. Later ones do not: the callback is left out, which
    is said. To end a run, call ``signal.raise_signal(signal.SIGINT)``: it stops after the current step, with its state
    saved.

    Example:
        >>> class Printer(Callback):
        ...     def on_epoch(self, record):
        ...         print(record["epoch"], record["val_loss"])
        >>> Printer().on_epoch({"epoch": 1, "step": 10, "val_loss": 2.5})
        1 2.5
    """

    def on_start(self, run: RunInfo) -> None:
        """Before the first step of this call of ``fit``."""

    def on_step(self, record: Mapping[str, Any]) -> None:
        """After every ``log_every`` steps, with learning rate and losses."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """After validation, with the row of ``log.csv``."""

    def on_end(self, error: BaseException | None) -> None:
        """At the end; `error` is what stopped the run, such as a ``KeyboardInterrupt``, or ``None``.

        Called in any case, also after another event failed.
        """


def imported(package: str, extra: str) -> Any:
    """An optional package.

    Raises:
        ImportError: it is missing; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(f"logging to {package} needs the extra {extra}: pip install 'dsct[{extra}]'") from error
