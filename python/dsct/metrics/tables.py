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


def all_tables(evaluation: Evaluation) -> list[Table]:
    """Every table that the evaluation has numbers for, the most important first.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> [table.title for table in all_tables(Evaluator(("calm", "angry"), multi_label=False).compute())]
        ['by people in the image', 'by class']
    """
    found = [by_people(evaluation), by_class(evaluation), at_thresholds(evaluation), by_group(evaluation)]
    return [table for table in found if table is not None]


def by_people(evaluation: Evaluation) -> Table:
    """Headline value of every protocol, chance, and box recall: over all images, and by the number of people in them.

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
    first = next(iter(evaluation.protocols.values()))
    rows.append(("chance", Share(first.chance), *map(Share, first.chance_by_subjects.values())))
    recall = Share(evaluation.box_recall, evaluation.box_recall_interval)
    rows.append(("box recall, IoU 0.5", recall, *map(Share, evaluation.box_recall_by_subjects.values())))
    return Table("by people in the image", ("", "all", *evaluation.box_recall_by_subjects), tuple(rows))


def by_class(evaluation: Evaluation) -> Table:
    """Every class under every protocol, with its share of the people, which is the average precision of chance.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> by_class(Evaluator(("calm", "angry"), multi_label=False).compute()).columns
        ('class', 'people', 'share', 'official accuracy', 'paper accuracy', 'detection accuracy')
    """
    results = list(evaluation.protocols.values())
    names, support, share = results[0].class_names, results[0].support, results[0].prevalence
    share_is_chance = results[0].class_metric == "AP"
    columns = ("class", "people", "chance AP" if share_is_chance else "share",
               *(f"{one.protocol} {one.class_metric}" for one in results))  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            str(support[c]),
            Share(float(share[c])),
            *(_of_class(one.per_class, one.intervals, c) for one in results),
        )
        for c, name in enumerate(names)
    ]
    return Table("by class", columns, tuple(rows))


def at_thresholds(evaluation: Evaluation) -> Table | None:
    """How well the labels reported at thresholds are read under the first protocol; None without thresholds.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> at_thresholds(Evaluator(("calm", "angry"), multi_label=True).compute(thresholds=[0.5, 0.4])).columns
        ('class', 'people', 'threshold', 'precision', 'recall', 'F1')
    """
    result = next(iter(evaluation.protocols.values()))
    quality = result.label_quality
    if quality is None:
        return None
    parts = (quality.precision, quality.recall, quality.f1)
    rows: list[tuple[Cell, ...]] = [
        (name, str(result.support[c]), f"{quality.thresholds[c]:.3f}", *(Share(float(part[c])) for part in parts))
        for c, name in enumerate(result.class_names)
    ]
    rows.append(("mean", "", "", "", "", Share(quality.macro_f1)))
    columns = ("class", "people", "threshold", "precision", "recall", "F1")
    return Table(f"labels at thresholds, {result.protocol} protocol", columns, tuple(rows))


def by_group(evaluation: Evaluation) -> Table | None:
    """Groups of people, such as those of one age, under the ``official`` protocol; None where the data state none.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> by_group(Evaluator(("calm", "angry"), multi_label=True).compute(details=True)) is None
        True
    """
    if evaluation.details is None or not evaluation.details.subgroups:
        return None
    official = evaluation["official"]
    rows: list[tuple[Cell, ...]] = [
        (f"{one.attribute}: {one.name}", str(one.people), Share(one.value, one.interval), Share(one.chance),
         Share(one.box_recall, one.box_recall_interval))
        for one in evaluation.details.subgroups
    ]  # fmt: skip
    return Table("by group of people", ("group", "people", f"official {official.metric}", "chance", "box recall"),
                 tuple(rows))  # fmt: skip


def _of_class(values: NDArray[np.float64], intervals: Intervals | None, number: int) -> Share:
    return Share(float(values[number]), None if intervals is None else intervals.per_class[number])
