"""Figures without pyplot, so that nothing here touches a global backend or keeps figures alive."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Inches at 100 dots per inch: a figure is as wide as a notebook cell.
DPI = 100
WIDTH = 10.0
GAP = 0.12
LINE = 0.19
FONT = 9.0  # points


class NotebookFigure(Figure):
    """A matplotlib figure that notebooks show even when pyplot was never imported.

    Args:
        width: inches, at 100 dots per inch.
        height: the same.

    Example:
        >>> NotebookFigure(2.0, 1.0).get_size_inches().tolist()
        [2.0, 1.0]
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without lines and numbers; all lengths in inches, from the upper left corner of the figure."""
    total_width, total_height = figure.get_size_inches()
    bottom = total_height - top - height
    axes = figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))
    axes.set_axis_off()
    return axes


def with_note(caption: str, note: str | None) -> str:
    """`caption`, followed by the note about the weights if there is one."""
    return f"{caption} {note}" if note else caption
