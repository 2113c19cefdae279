"""What a training run shows: on a terminal one bar for the whole run, elsewhere a line now and then."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import IO, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dsct.output_streams import OutputStream

SHOWN_LOSSES = ("loss", "loss_ce", "loss_bbox", "loss_giou")
#: Columns that the rest of a line needs: epoch, bar, steps, remaining time.
RESERVED = 62


class Display:
    """Shows progress over all optimizer steps: step, loss and remaining time, and more where there is room.

    Args:
        visible: ``False`` shows nothing.
        console: where to draw; by default the terminal, or where the output goes.
    """

    def __init__(self, visible: bool, console: Console | None = None) -> None:
        # What cannot be shown ends no training.
        self._console = console or Console(file=cast(IO[str], OutputStream(sys.stdout, "stdout", silent=True)))
        self._has_bar = visible and self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10 if self._console.width < 110 else 40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._has_bar,
        )
        self._visible = visible
        self._task: TaskID | None = None
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(
        self,
        description: str,
        done: int,
        total: int,
        losses: Mapping[str, float],
        images_per_second: float,
        memory: int,
        is_logged: bool = False,
    ) -> None:
        """Moves the bar to `done` of `total` steps; `memory` is the peak in bytes.

        Without a terminal prints a line instead, where `is_logged`.
        """
        self._began = self._began or (time.perf_counter(), done)
        shown = [f"{name.removeprefix('loss_')} {losses[name]:.3f}" for name in SHOWN_LOSSES if name in losses]
        parts = [*shown[:1], f"{images_per_second:.1f} images/s", f"{memory / 1e9:.1f} GB", *shown[1:]]
        if self._has_bar:
            numbers = _fitting(parts, self._console.width - RESERVED)
            if self._task is None:
                self._task = self._progress.add_task(description, total=total, numbers="")
            self._progress.update(self._task, description=description, completed=done, total=total, numbers=numbers)
        elif is_logged:
            self.say(f"{description}  step {done}/{total}  {'  '.join([*parts, self._left(done, total)])}")

    def say(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        if self._visible:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _left(self, done: int, total: int) -> str:
        assert self._began is not None
        seconds, steps = time.perf_counter() - self._began[0], done - self._began[1]
        if not steps:
            return "-:--:-- left"
        return f"{timedelta(seconds=round(seconds / steps * (total - done)))} left"


def _fitting(parts: list[str], width: int) -> str:
    """As many of the parts as fit, the first in any case."""
    while len(parts) > 1 and len("  ".join(parts)) > width + len(parts[0]):
        parts = parts[:-1]
    return "  ".join(parts)


def peak_memory(device: torch.device) -> int:
    """The most bytes in use so far: torch's on a GPU, otherwise those of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
