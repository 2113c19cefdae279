"""A page of panels, each an image with its people, and below them what their lines, marks and numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from dsct.prediction.person_colors import WRONG_COLOR
from dsct.visualize.drawing.figure import FONT, GAP, NotebookFigure
from dsct.visualize.drawing.footer import Footer
from dsct.visualize.drawing.image_axes import TRUE_BOX_STYLE
from dsct.visualize.drawing.panel import Panel
from dsct.visualize.drawing.person_cards import MISSED, RIGHT, WRONG

_NUMBERS = (
    "Bars: probability of an emotion; bold: reported. Person score: mean over all classes, by which people are ranked; "
    "it is small where one emotion of many is probable."
)
_TITLE = 0.3  # inches
_MARKS = f" {RIGHT} reported and true, {WRONG} wrong, {MISSED} true but not reported."


def people_page(
    panels: Sequence[Panel],
    columns: int,
    caption: str | None = None,
    titles: Sequence[str] = (),
    legend: Sequence[Artist] = (),
) -> NotebookFigure:
    """Draws panels row by row, and one legend and caption for all of them.

    Args:
        panels: at least one; of one width if there are several columns.
        columns: panels per row.
        caption: in place of the explanation of predictions.
        titles: of the columns.
        legend: further entries.

    Example:
        >>> from PIL import Image
        >>> from dsct.prediction.people import People
        >>> import numpy as np
        >>> empty = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), [], np.zeros((0, 1), np.float32)
        >>> blank = Image.new("RGB", (80, 60))
        >>> panel = Panel(blank, People(*empty, ("Calm",), (80, 60), blank), None, [], 4.0, cards_below=True)
        >>> float(people_page([panel] * 3, columns=2).get_figwidth())
        8.0
    """
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.size[1] for panel in row) for row in rows]
    width = panels[0].size[0] * min(columns, len(panels))
    footer = _footer(width, panels, caption, legend)
    below = footer.height + GAP if footer.height else 0.0
    top = _TITLE if titles else 0.0
    figure = NotebookFigure(width, top + sum(heights) + below)
    for column, title in enumerate(titles):
        middle = (column + 0.5) * panels[0].size[0] / width
        style: dict[str, Any] = {"fontsize": FONT + 1, "fontweight": "bold", "ha": "center", "va": "center"}
        figure.text(middle, 1 - _TITLE / 2 / figure.get_figheight(), title, parse_math=False, **style)
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            panel.draw(figure, column * panel.size[0], top)
        top += height
    footer.draw(figure, top)
    return figure


def _footer(width: float, panels: Sequence[Panel], caption: str | None, legend: Sequence[Artist]) -> Footer:
    """The explanation of what occurs in `panels`, and the notes about the weights, each once."""
    compared = [panel.comparison for panel in panels if panel.comparison is not None]
    if caption is None:
        found = any(len(panel.people) for panel in panels)
        caption = (_NUMBERS if found else "") + (_MARKS if found and compared else "")
    notes = dict.fromkeys(panel.people.note for panel in panels if panel.people.note)
    missed = any(comparison.missed() for comparison in compared)
    entries = [*(_box_legend(missed) if compared else ()), *legend]
    return Footer(width, entries, " ".join(filter(None, (caption, *notes))))


def _box_legend(missed: bool) -> list[Line2D]:
    """Legend entries for the boxes of a comparison with the truth; `missed`: somebody was not found."""
    entries = [
        _line("box found by the model", "0.6", "-", 2.5),
        _line("true box, as annotated", "white", TRUE_BOX_STYLE, 1.5),
    ]
    return [*entries, _line("true box, person missed", WRONG_COLOR, TRUE_BOX_STYLE, 1.5)] if missed else entries


def _line(label: str, color: str, style: Any, width: float) -> Line2D:
    """As `draw_box` draws it."""
    halo = [withStroke(linewidth=width + 1.5, foreground="0.1")]
    return Line2D([], [], label=label, color=color, linestyle=style, linewidth=width, path_effects=halo)
