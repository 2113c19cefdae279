"""Reliability diagrams: how often a class is right, by the probability that the model reports."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from dsct.metrics import Calibration
from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import NotebookFigure

_COLUMNS = 4


def calibration_figure(found: Calibration) -> NotebookFigure:
    """One diagram per class, or one for the predicted class; on the dashed diagonal probabilities are calibrated.

    Grey bars are the share of the people in a bin, points the share of these for whom the class is right.

    Example:
        >>> from dsct.metrics import calibration
        >>> figure = calibration_figure(calibration([[0.9], [0.9]], [[1], [0]], ["calm"]))
        >>> figure.axes[0].get_title()
        'calm: ECE 40.0%'
    """
    columns = min(_COLUMNS, len(found.names))
    rows = math.ceil(len(found.names) / columns)
    single = len(found.names) == 1
    figure = NotebookFigure(4.5 if single else 2.5 * columns, 4.2 if single else 2.3 * rows + 0.4)
    for row in range(len(found.names)):
        _draw(figure.add_subplot(rows, columns, row + 1), found, row)
    figure.supxlabel("reported probability, %", fontsize=9)
    figure.supylabel("right, %; grey: share of the people", fontsize=9)
    figure.tight_layout()
    return figure


def _draw(ax: Axes, found: Calibration, row: int) -> None:
    people = found.count[row].sum()
    ax.bar(
        100 * found.edges[:-1], 100 * found.count[row] / max(people, 1), 100 / (len(found.edges) - 1), align="edge",
        color="lightgrey",
    )  # fmt: skip
    ax.plot([0, 100], [0, 100], "--", color="black", linewidth=1)
    filled = found.count[row] > 0
    if people:  # a line without points would take room in the corner of the figure: findings/README.md
        x, y = 100 * found.confidence[row][filled], 100 * found.share[row][filled]
        ax.plot(x, y, "o-", color=PERSON_COLORS[0], markersize=3, linewidth=1.2, clip_on=False)
    error = f"ECE {found.errors[row]:.1%}" if people else "nobody"
    ax.set_title(f"{found.names[row]}: {error}", fontsize=9)
    ax.set(xlim=(0, 100), ylim=(0, 100))
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)
