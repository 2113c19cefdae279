"""What a training run shows on the terminal: one bar for the whole run and one line per epoch."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SHOWN_LOSSES = ("loss", "loss_ce", "loss_bbox", "loss_giou")


class Display:
    """A progress bar over all optimizer steps with losses, images per second, memory and remaining time.

    Args:
        visible: ``False`` shows nothing.
        console: where to draw; by default the terminal.
    """

    def __init__(self, visible: bool, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not visible,
        )
        self._visible = visible
        self._task = self._progress.add_task("training", total=None, numbers="")

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
    ) -> None:
        """Moves the bar to `done` of `total` steps; `memory` is the peak in bytes."""
        shown = [f"{name.removeprefix('loss_')} {losses[name]:.3f}" for name in SHOWN_LOSSES if name in losses]
        numbers = f"{'  '.join(shown)}  {images_per_second:.1f} images/s  {memory / 1e9:.1f} GB"
        self._progress.update(self._task, description=description, completed=done, total=total, numbers=numbers)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        if self._visible:
            self._progress.console.print(line, highlight=False)


def peak_memory(device: torch.device) -> int:
    """The most bytes in use so far: torch's on a GPU, otherwise those of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
