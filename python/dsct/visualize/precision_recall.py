"""Precision-recall curves, one panel per class."""

from __future__ import annotations

import math

import numpy as np

from dsct.metrics import Evaluation
from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import NotebookFigure

_COLUMNS = 4


def precision_recall_figure(evaluation: Evaluation) -> NotebookFigure:
    """Precision over recall of every class under every protocol; dotted: chance, the share of people who show it.

    Args:
        evaluation: computed with ``details=True``.

    Raises:
        ValueError: the evaluation has no details.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> evaluation = Evaluator(("calm", "angry"), multi_label=True).compute(details=True)
        >>> [ax.get_title() for ax in precision_recall_figure(evaluation).axes]
        ['calm (0)', 'angry (0)']
    """
    if evaluation.details is None:
        raise ValueError("evaluation must be computed with details=True, got one without")
    results = list(evaluation.protocols.values())
    names = results[0].class_names
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = NotebookFigure(2.5 * columns, 2.3 * rows + 0.6)
    for c, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, c + 1)
        for number, result in enumerate(results):
            curve = evaluation.details.precision_recall[result.protocol][c]
            # From recall 0 on, at the precision of the first point; a class that nobody shows has no curve.
            recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[:1], curve.precision)
            if len(precision) == len(recall) and not np.isnan(recall).any():
                ax.step(100 * recall, 100 * precision, where="pre", color=PERSON_COLORS[number], linewidth=1.2,
                        label=result.protocol)  # fmt: skip
        if results[0].support[c]:
            ax.axhline(100 * results[0].prevalence[c], color="black", linestyle=":", linewidth=1)
        ax.set(xlim=(0, 100), ylim=(0, 103))
        ax.set_title(f"{name} ({results[0].support[c]})", fontsize=9)
        ax.tick_params(labelsize=7)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    lines = [line for ax in figure.axes for line in ax.get_lines()]
    handles = {str(line.get_label()): line for line in lines if not str(line.get_label()).startswith("_")}
    figure.supxlabel("recall, %; dotted: chance", fontsize=9)
    figure.supylabel("precision, %", fontsize=9)
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="upper center", ncols=len(handles), fontsize=8, frameon=False
        )
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    return figure
