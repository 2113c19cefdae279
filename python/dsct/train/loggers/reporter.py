"""Tells the run's own files and all callbacks what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        self._say: Callable[[str], None] = print

    @contextmanager
    def watched(self, run: RunInfo, say: Callable[[str], None]) -> Iterator[None]:
        """Tells the callbacks about beginning and end of what happens inside.

        One that fails later is left out, which `say` tells: the run is worth more than a copy of its log.

        Raises:
            OSError: a callback fails before the first step, when nothing is lost.
        """
        self._say = say
        error: BaseException | None = None
        begun: list[Callback] = []
        try:
            for callback in self._callbacks:
                begun.append(callback)
                _begin(callback, run)
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._tell("on_end", error, callbacks=begun)

    def step(self, record: Mapping[str, Any]) -> None:
        """A step that is logged."""
        self.log.step(record)
        self._tell("on_step", record)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch after validation."""
        self.log.epoch(record)
        self._tell("on_epoch", record)

    def _tell(self, event: str, what: Any, callbacks: Sequence[Callback] | None = None) -> None:
        for callback in list(self._callbacks if callbacks is None else callbacks):
            try:
                getattr(callback, event)(what)
            except Exception as error:
                self._say(f"{_named(callback)} failed and is left out from here on: {_line(error)}")
                if callback in self._callbacks:
                    self._callbacks.remove(callback)


def _begin(callback: Callback, run: RunInfo) -> None:
    try:
        callback.on_start(run)
    except Exception as error:
        raise OSError(f"{_named(callback)} cannot begin to log this run: {_line(error)}") from error


def _named(callback: Callback) -> str:
    return type(callback).__name__


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
