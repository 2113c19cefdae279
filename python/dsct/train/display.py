"""What a training run shows on the terminal: one bar for the whole run and one line per epoch."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """A progress bar over all optimizer steps with loss, images per second and the time left.

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

    def show(self, description: str, done: int, total: int, loss: float, images_per_second: float) -> None:
        """Moves the bar to `done` of `total` steps."""
        numbers = f"loss {loss:.3f}  {images_per_second:.1f} images/s"
        self._progress.update(self._task, description=description, completed=done, total=total, numbers=numbers)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        if self._visible:
            self._progress.console.print(line, highlight=False)
