"""Precision and recall of a class at every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsct.metrics.means import ratio
from dsct.metrics.protocols import Verdict

#: Where a curve is written down: in JSON it has a number for each.
RECALL_LEVELS = np.arange(1, 101) / 100


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """The curve of one class, without interpolation: a point per distinct score, the highest first.

    Attributes:
        name: the class.
        thresholds: (T,) a label is reported where the score is at least this.
        precision: (T,) share of the reported labels that are right.
        recall: (T,) share of the people who show the class for whom it is reported; NaN where nobody shows it.

    Example:
        >>> curve = precision_recall_curve([0.9, 0.8, 0.1], [1, 0, 1], name="calm")
        >>> curve.precision.round(3).tolist(), curve.recall.tolist()
        ([1.0, 0.5, 0.667], [0.5, 0.5, 1.0])
    """

    name: str
    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    def at(self, recalls: ArrayLike = RECALL_LEVELS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision and threshold where the curve first reaches each recall.

        Args:
            recalls: (L,) in [0, 1].

        Returns:
            Precision (L,) and threshold (L,), NaN where the recall is never reached.

        Example:
            >>> curve = precision_recall_curve([0.9, 0.8], [1, 0], num_positive=2)
            >>> curve.at([0.5, 1.0])
            (array([ 1., nan]), array([0.9, nan]))
        """
        wanted = np.asarray(recalls, dtype=np.float64)
        if not len(self.recall) or np.isnan(self.recall).any():
            return np.full(len(wanted), np.nan), np.full(len(wanted), np.nan)
        # A recall is a quotient of whole numbers; rounding must not push a level past it.
        place = np.searchsorted(self.recall, wanted - 1e-12)
        reached = place < len(self.recall)
        place = np.minimum(place, len(self.recall) - 1)
        return np.where(reached, self.precision[place], np.nan), np.where(reached, self.thresholds[place], np.nan)


def precision_recall_curve(
    scores: ArrayLike, positive: ArrayLike, num_positive: int | None = None, name: str = ""
) -> PrecisionRecall:
    """The precision-recall curve of one class.

    Its points equal those of ``sklearn.metrics.precision_recall_curve`` without the one that scikit-learn adds; the sum
    of the steps is :func:`dsct.metrics.average_precision`.

    Args:
        scores: (K,) of the candidates.
        positive: (K,) 0/1 or bool, whether a candidate is right.
        num_positive: number of positives, found or not; by default those among the candidates.
        name: the class.

    Raises:
        ValueError: shapes differ, a score is NaN, or there are fewer positives than were found.

    Example:
        >>> precision_recall_curve([0.5, 0.5], [1, 0]).precision.tolist()
        [0.5]
    """
    scores, right = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ValueError(f"scores and positive must both be (K,), got {scores.shape} and {right.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores must not be NaN")
    total = int(right.sum()) if num_positive is None else int(num_positive)
    if total < right.sum():
        raise ValueError(f"num_positive must be at least the {right.sum()} found, got {total}")
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    # Equal scores are one step: a point lies after the last of them.
    is_last = np.ones(len(falling), dtype=bool)
    is_last[:-1] = falling[1:] != falling[:-1]
    last = np.flatnonzero(is_last)
    found = np.cumsum(right[order])[last].astype(np.float64)
    return PrecisionRecall(name, falling[last], found / (last + 1), ratio(found, np.full(len(found), total)))


def precision_recall(verdict: Verdict, class_names: Sequence[str]) -> tuple[PrecisionRecall, ...]:
    """The curve of every class under one protocol."""
    return tuple(
        precision_recall_curve(verdict.scores[:, c], verdict.right[:, c], int(verdict.support[c]), name)
        for c, name in enumerate(class_names)
    )
