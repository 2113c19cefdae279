"""Tells the run's own files and all callbacks what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsct.train.loggers.callback import Callback, RunInfo
from dsct.train.loggers.run_log import RunLog
from dsct.train.loggers.tensorboard import TensorBoard


class Reporter:
    """The files ``log.csv`` and ``log.jsonl`` of a run, and its callbacks.

    Args:
        run_dir: folder of the run.
        callbacks: by default TensorBoard where it is installed.
        is_main: of several processes only the main one reports.

    Attributes:
        log: the run's own files.
    """

    def __init__(self, run_dir: Path, callbacks: Sequence[Callback] | None, is_main: bool) -> None:
        self.log = RunLog(run_dir, is_main)
        default = [TensorBoard()] if TensorBoard.is_installed() else []
        self._callbacks = list(default if callbacks is None else callbacks) if is_main else []

    @contextmanager
    def watched(self, run: RunInfo) -> Iterator[None]:
        """Tells the callbacks about beginning and end of what happens inside."""
        for callback in self._callbacks:
            callback.on_start(run)
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            for callback in self._callbacks:
                callback.on_end(error)

    def step(self, record: Mapping[str, Any]) -> None:
        """A step that is logged."""
        self.log.step(record)
        for callback in self._callbacks:
            callback.on_step(record)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch after validation."""
        self.log.epoch(record)
        for callback in self._callbacks:
            callback.on_epoch(record)
