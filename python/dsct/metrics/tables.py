"""The numbers of an evaluation as rows, for the terminal, for Markdown and for whatever else shows them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsct.metrics.results import Evaluation, Intervals


class Share(NamedTuple):
    """A number in [0, 1], NaN where it does not exist, with the ends of its interval, if it has one."""

    value: float
    interval: NDArray[np.float64] | None = None


Cell = str | Share


class Table(NamedTuple):
    """Every row has a cell for every column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def by_people(evaluation: Evaluation) -> Table:
    """Headline value of every protocol and box recall: over all images, and by the number of people in them.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> table = by_people(Evaluator(("calm", "angry"), multi_label=False).compute())
        >>> table.columns, table.rows[0]
        (('', 'all'), ('official accuracy', Share(value=nan, interval=None)))
    """
    rows: list[tuple[Cell, ...]] = [
        (f"{one.protocol} {one.metric}", Share(one.value, None if one.intervals is None else one.intervals.value),
         *map(Share, one.by_subjects.values()))
        for one in evaluation.protocols.values()
    ]  # fmt: skip
    recall = Share(evaluation.box_recall, evaluation.box_recall_interval)
    rows.append(("box recall, IoU 0.5", recall, *map(Share, evaluation.box_recall_by_subjects.values())))
    return Table("by people in the image", ("", "all", *evaluation.box_recall_by_subjects), tuple(rows))


def by_class(evaluation: Evaluation) -> Table:
    """Every class under every protocol; at thresholds also how well its labels were read under the first.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> by_class(Evaluator(("calm", "angry"), multi_label=False).compute()).columns
        ('class', 'people', 'official accuracy', 'paper accuracy', 'detection accuracy')
    """
    results = list(evaluation.protocols.values())
    names, support, quality = results[0].class_names, results[0].support, results[0].label_quality
    columns = ("class", "people", *(f"{one.protocol} {one.class_metric}" for one in results))
    rows: list[tuple[Cell, ...]] = [
        (name, str(support[c]), *(_of_class(one.per_class, one.intervals, c) for one in results))
        for c, name in enumerate(names)
    ]
    if quality is not None:
        columns += ("threshold", "precision", "recall", "F1")
        parts = (quality.precision, quality.recall, quality.f1)
        rows = [(*row, f"{quality.thresholds[c]:.3f}", *(Share(float(part[c])) for part in parts))
                for c, row in enumerate(rows)]  # fmt: skip
        rows.append(("mean", *[""] * (len(columns) - 2), Share(quality.macro_f1)))
    return Table("by class", columns, tuple(rows))


def _of_class(values: NDArray[np.float64], intervals: Intervals | None, number: int) -> Share:
    return Share(float(values[number]), None if intervals is None else intervals.per_class[number])
