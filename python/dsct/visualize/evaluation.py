"""Figures of an evaluation: classes with their intervals, confusion matrix, people per image."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from dsct.metrics import Evaluation, ProtocolResult
from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import NotebookFigure

MARKERS = ("o", "s", "^")


def class_figure(evaluation: Evaluation) -> NotebookFigure:
    """Headline value of every class under every protocol, with its interval if there is one.

    Classes are sorted by the ``official`` protocol, the best on top; the number of people is beside the name. Chance is
    marked: of an average precision the share of people who show the class, of accuracy that of the most frequent class.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> evaluation = Evaluator(("calm", "angry"), multi_label=True).compute()
        >>> class_figure(evaluation).axes[0].get_xlabel()
        'average precision, %'
    """
    official = evaluation["official"]
    order = np.argsort(np.nan_to_num(official.per_class, nan=-1.0), kind="stable")
    figure = NotebookFigure(8.0, 1.4 + 0.3 * len(order))
    ax = figure.add_subplot()
    results = list(evaluation.protocols.values())
    for number, result in enumerate(results):
        # Side by side within a row, so that points of different protocols do not hide each other.
        rows = np.arange(len(order)) + 0.22 * (1 - number)
        values = 100 * result.per_class[order]
        color = PERSON_COLORS[number]
        ax.plot(values, rows, MARKERS[number], color=color, markersize=5, label=_named(result), clip_on=False)
        if result.intervals is not None:
            low, high = 100 * result.intervals.per_class[order].T
            ax.hlines(rows, low, high, color=color, linewidth=1.5, alpha=0.7)
    if official.confusion is None:
        ax.plot(
            100 * official.prevalence[order],
            np.arange(len(order)),
            "|",
            color="black",
            markersize=9,
            label=_chance(official),
        )
    for number, result in enumerate(results):
        ax.axvline(100 * result.value, color=PERSON_COLORS[number], linestyle=":", linewidth=1)
    if official.confusion is not None:
        ax.axvline(100 * official.chance, color="black", linestyle="--", linewidth=1, label=_chance(official))
    ax.set_yticks(range(len(order)), [f"{official.class_names[i]} ({official.support[i]})" for i in order], fontsize=8)
    ax.set_xlim(0, 100)
    ax.set_xlabel("average precision, %" if official.confusion is None else "accuracy, %", fontsize=9)
    ax.set_title("by class, with the number of people; dotted: mean over classes" if official.confusion is None
                 else "by class, with the number of people; dotted: over all people", fontsize=10)  # fmt: skip
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.9 / figure.get_figheight()), ncols=3, frameon=False
    )
    figure.tight_layout()
    return figure


def confusion_figure(result: ProtocolResult) -> NotebookFigure:
    """Confusion matrix: number of people, and share of the true class as colour and percentage.

    People to whom no prediction was assigned are the last column.

    Raises:
        ValueError: a person can show several classes; then there is no confusion matrix.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> evaluation = Evaluator(("calm", "angry"), multi_label=False).compute()
        >>> confusion_figure(evaluation["official"]).axes[0].get_xlabel()
        'predicted'
    """
    if result.confusion is None or result.missed is None:
        raise ValueError("result must be of a model with one class per person, got one with several")
    counts = np.column_stack([result.confusion, result.missed])
    names = result.class_names
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.75 * len(names)
    figure = NotebookFigure(side + 0.6, side)
    ax = figure.add_subplot()
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _write_cells(ax, counts, share)
    ax.set_xticks(range(len(names) + 1), [*names, "missed"], rotation=35, ha="right", fontsize=9)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set_xlabel("predicted", fontsize=9)
    ax.set_ylabel("true", fontsize=9)
    ax.set_title(f"{result.protocol} protocol: accuracy {_percent(result.value)}, {_chance(result)}", fontsize=10)
    figure.tight_layout()
    return figure


def subjects_figure(evaluation: Evaluation) -> NotebookFigure:
    """Headline value by number of people in the image (paper, Tables 4 and 12), and the share of people found.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> evaluation = Evaluator(("calm", "angry"), multi_label=False).compute()
        >>> subjects_figure(evaluation).axes[0].get_xlabel()
        'people in the image'
    """
    figure = NotebookFigure(7.0, 4.0)
    ax = figure.add_subplot()
    buckets = list(evaluation.box_recall_by_subjects)
    width = 0.8 / (len(evaluation.protocols) + 1)
    for number, result in enumerate(evaluation.protocols.values()):
        places = np.arange(len(buckets)) + (number - 1.5) * width
        values = np.array([result.by_subjects[bucket] for bucket in buckets])
        ax.bar(places, 100 * values, width * 0.9, color=PERSON_COLORS[number], label=_named(result))
        if result.intervals is not None:
            ends = np.array([result.intervals.by_subjects[bucket] for bucket in buckets]).reshape(-1, 2)
            ax.vlines(places, *(100 * ends.T), color="black", linewidth=1)
    first = next(iter(evaluation.protocols.values()))
    for place, bucket in enumerate(buckets):
        ax.hlines(100 * first.chance_by_subjects[bucket], place - 2 * width, place + width, color="black",
                  linestyle="--", linewidth=1, label="" if place else _chance(first))  # fmt: skip
    places = np.arange(len(buckets)) + 1.5 * width
    recalls = [100 * evaluation.box_recall_by_subjects[bucket] for bucket in buckets]
    ax.bar(places, recalls, width * 0.9, color="lightgrey", label="box recall, IoU 0.5")
    ax.set_xticks(range(len(buckets)), buckets)
    ax.set_xlabel("people in the image", fontsize=9)
    ax.set_ylabel("%", fontsize=9)
    ax.set_ylim(0, 100)
    ax.grid(axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    figure.tight_layout()
    return figure


def _chance(result: ProtocolResult) -> str:
    return f"chance {_percent(result.chance)}"


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"


def _named(result: ProtocolResult) -> str:
    return f"{result.protocol}, {result.metric} {_percent(result.value)}"


def _write_cells(ax: Axes, counts: NDArray[np.int64], share: NDArray[np.float64]) -> None:
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            color = "white" if share[row, column] > 0.5 else "black"
            text = f"{counts[row, column]}\n{share[row, column]:.0%}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
