"""Panels of one shape in rows, a title above each, one legend and one caption below all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from dsct.visualize.drawing.figure import GAP, WIDTH, NotebookFigure, add_axes
from dsct.visualize.drawing.footer import Footer

_MAX_HEIGHT = 4.2  # inches, of a panel
_MIN_WIDTH = 2.25  # inches, of the room of a panel, so that its title fits
_WIDE = 2.2
_TITLE = 0.28


def panel_grid(
    count: int, columns: int, aspect: float, legend: Sequence[Artist] = (), caption: str = ""
) -> tuple[NotebookFigure, list[Axes]]:
    """A figure of notebook width with `count` empty panels, row by row.

    Args:
        count: number of panels, at least 1.
        columns: panels per row; at most two if they are very wide.
        aspect: width of a panel over its height.
        legend: labelled artists that the legend shows.
        caption: what the reader must know; it is wrapped.

    Example:
        >>> figure, axes = panel_grid(5, columns=3, aspect=4 / 3, caption="Five panels.")
        >>> len(axes), float(figure.get_figwidth())
        (5, 10.0)
    """
    columns = min(columns, count) if aspect <= _WIDE else min(columns, 2, count)
    rows = -(-count // columns)
    height = min((WIDTH - (columns + 1) * GAP) / columns / aspect, _MAX_HEIGHT)
    width = height * aspect
    room = max(width, min(_MIN_WIDTH, (WIDTH - GAP) / columns - GAP)) + GAP
    left = (WIDTH - columns * room) / 2
    top_of_footer = rows * (height + _TITLE + GAP) + GAP
    footer = Footer(WIDTH, legend, caption)
    figure = NotebookFigure(WIDTH, top_of_footer + footer.height + GAP)
    axes = []
    for number in range(count):
        row, column = divmod(number, columns)
        x = left + column * room + (room - width) / 2
        axes.append(add_axes(figure, x, row * (height + _TITLE + GAP) + _TITLE, width, height))
        draw_frame(axes[-1])
    footer.draw(figure, top_of_footer)
    return figure, axes


def draw_frame(ax: Axes) -> None:
    """A thin line around the axes: without it a white image has no edge on a white page."""
    style: dict[str, Any] = {"fill": False, "edgecolor": "0.7", "linewidth": 0.8, "clip_on": False}
    ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, **style))
