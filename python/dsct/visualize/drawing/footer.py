"""What stands below all panels of a figure: one legend and one caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist

from dsct.visualize.drawing.figure import FONT, GAP, LINE, NotebookFigure

_CAPTION_LINE = 0.145
_LETTERS_PER_INCH = 15  # of the caption
_LEGEND_LETTERS_PER_INCH = 14


class Footer:
    """A legend, whose entries stand in one row if they fit, and a caption, which is wrapped. Lengths are in inches.

    Args:
        width: of the figure.
        legend: labelled artists that the legend shows.
        caption: what the reader must know.

    Attributes:
        height: what the figure must leave for it.

    Example:
        >>> Footer(10.0, caption="One line.").height < Footer(10.0, caption="Many words. " * 20).height
        True
    """

    def __init__(self, width: float, legend: Sequence[Artist] = (), caption: str = "") -> None:
        self._legend = list(legend)
        self._lines = textwrap.wrap(caption, int(width * _LETTERS_PER_INCH))
        letters = sum(len(str(entry.get_label())) + 6 for entry in legend)
        self._columns = len(self._legend) if letters <= width * _LEGEND_LETTERS_PER_INCH else 1
        rows = -(-len(self._legend) // self._columns) if self._legend else 0
        self.height = rows * (LINE + 0.1) + len(self._lines) * _CAPTION_LINE

    def draw(self, figure: NotebookFigure, top: float) -> None:
        """Draws it, `top` below the upper edge of the figure."""
        total = figure.get_figheight()
        if self._legend:
            figure.legend(
                handles=self._legend,
                loc="upper center",
                bbox_to_anchor=(0.5, 1 - (top - 0.05) / total),
                ncols=self._columns,
                fontsize=FONT,
                frameon=False,
                borderaxespad=0,
                handletextpad=0.6,
                columnspacing=1.5,
            )
        style: dict[str, Any] = {"fontsize": FONT - 1, "color": "0.35", "ha": "center", "va": "bottom"}
        # From the lower edge, so that letters below the line stay on the figure.
        figure.text(0.5, GAP / 2 / total, "\n".join(self._lines), parse_math=False, **style)
