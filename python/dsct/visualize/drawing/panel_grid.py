"""Panels of one shape in rows, a title above each, one legend and one caption below all."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from dsct.visualize.drawing.figure import FONT, GAP, LINE, WIDTH, NotebookFigure, add_axes

_MAX_HEIGHT = 4.2  # inches, of a panel
_MIN_WIDTH = 2.25  # inches, of the room of a panel, so that its title fits
_WIDE = 2.2
_TITLE = 0.28
_CAPTION_LINE = 0.145


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
    lines = textwrap.wrap(caption, 150)
    legend_height = (LINE + 0.1) * -(-len(legend) // _entries_per_row(legend)) if legend else 0.0
    top_of_footer = rows * (height + _TITLE + GAP) + GAP
    figure = NotebookFigure(WIDTH, top_of_footer + legend_height + len(lines) * _CAPTION_LINE + GAP)
    total = figure.get_figheight()
    axes = []
    for number in range(count):
        row, column = divmod(number, columns)
        x = left + column * room + (room - width) / 2
        axes.append(add_axes(figure, x, row * (height + _TITLE + GAP) + _TITLE, width, height))
        # A frame: without it a white image has no edge on a white page.
        style: dict[str, Any] = {"fill": False, "edgecolor": "0.7", "linewidth": 0.8, "clip_on": False}
        axes[-1].add_patch(Rectangle((0, 0), 1, 1, transform=axes[-1].transAxes, **style))
    if legend:
        figure.legend(
            handles=list(legend),
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - (top_of_footer - 0.05) / total),
            ncols=_entries_per_row(legend),
            fontsize=FONT,
            frameon=False,
            borderaxespad=0,
            handletextpad=0.4,
            columnspacing=1.5,
        )
    writing: dict[str, Any] = {
        "fontsize": FONT - 1,
        "color": "0.35",
        "ha": "center",
        "va": "bottom",
        "parse_math": False,
    }
    figure.text(0.5, GAP / 2 / total, "\n".join(lines), **writing)
    return figure, axes


def _entries_per_row(legend: Sequence[Artist]) -> int:
    """All in one row if they fit, by their letters; else one below the other."""
    return len(legend) if sum(len(str(entry.get_label())) + 6 for entry in legend) <= 140 else 1
