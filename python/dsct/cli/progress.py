"""The progress bar of all commands except training, which also shows losses."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(console: Console, visible: bool = True, redirect_stdout: bool = True) -> Progress:
    """A bar with a description, the count and the remaining time; it disappears at the end.

    Args:
        console: where to draw.
        visible: ``False`` draws nothing.
        redirect_stdout: print output above the bar; ``False`` leaves it where it was sent.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not visible, redirect_stdout=redirect_stdout)
