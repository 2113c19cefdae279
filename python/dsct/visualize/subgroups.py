"""Scores of groups of people, such as those of one age."""

from __future__ import annotations

import numpy as np

from dsct.metrics import Evaluation
from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import NotebookFigure


def subgroup_figure(evaluation: Evaluation) -> NotebookFigure:
    """Headline value under the ``official`` protocol and box recall of every group, with intervals and chance.

    Args:
        evaluation: computed with ``details=True``, of data that say something of their people.

    Raises:
        ValueError: the evaluation has no groups of people.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> evaluator = Evaluator(("calm", "angry"), multi_label=False)
        >>> box = [[0.0, 0.0, 9.0, 9.0]]
        >>> found = {"boxes": box, "scores": [0.5], "probabilities": [[0.2, 0.8]]}
        >>> evaluator.update([found], [{"boxes": box, "labels": [1], "attributes": {"age": ["Kid"]}}])
        >>> figure = subgroup_figure(evaluator.compute(details=True))
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['age: Kid (1)']
    """
    groups = () if evaluation.details is None else evaluation.details.subgroups
    if not groups:
        raise ValueError("evaluation must have groups of people: computed with details=True, of data with attributes")
    official = evaluation["official"]
    figure = NotebookFigure(8.0, 1.6 + 0.35 * len(groups))
    ax = figure.add_subplot()
    rows = np.arange(len(groups))[::-1]
    parts = (
        (f"official {official.metric}", [one.value for one in groups], [one.interval for one in groups], 0.12),
        ("box recall, IoU 0.5", [one.box_recall for one in groups], [one.box_recall_interval for one in groups], -0.12),
    )
    for number, (label, values, intervals, above) in enumerate(parts):
        color = PERSON_COLORS[number]
        ax.plot(
            100 * np.array(values), rows + above, "os"[number], color=color, markersize=5, label=label, clip_on=False
        )
        for row, interval in zip(rows, intervals, strict=True):
            if interval is not None:
                ax.hlines(row + above, *(100 * interval), color=color, linewidth=1.5, alpha=0.7)
    ax.plot(
        100 * np.array([one.chance for one in groups]), rows + 0.12, "|", color="black", markersize=9, label="chance"
    )
    ax.axvline(100 * official.value, color=PERSON_COLORS[0], linestyle=":", linewidth=1)
    ax.set_yticks(rows, [f"{one.attribute}: {one.name} ({one.people})" for one in groups], fontsize=8)
    ax.set(xlim=(0, 100), ylim=(-0.6, len(groups) - 0.4))
    ax.set_xlabel("%", fontsize=9)
    ax.set_title(f"by group of people, with their number; dotted: {official.metric} of all", fontsize=10)
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.55 / figure.get_figheight()), ncols=3, frameon=False
    )
    figure.tight_layout()
    return figure
