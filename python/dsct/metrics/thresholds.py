"""Per-class thresholds of a multi-label model, fitted on validation data, and the quality of labels at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsct.metrics.means import mean_of_defined

Rule = Literal["break-even", "f1"]
UNFITTED = 0.5


def fit_thresholds(
    scores: ArrayLike, positive: ArrayLike, num_positive: ArrayLike | None = None, rule: Rule = "break-even"
) -> NDArray[np.float64]:
    """The threshold of each class; a label is reported where its score exceeds it.

    Args:
        scores: (K, C) in [0, 1]; float32, as thresholds are compared in float32.
        positive: (K, C) 0/1 or bool.
        num_positive: (C,) number of positives, among the candidates or not; by default those among them.
        rule: ``"break-even"``, as many labels are reported as exist, so that precision equals recall (with equal
            scores, the nearest number); or ``"f1"``, the highest F1.

    Returns:
        (C,) float64; 0.5 for a class without positives.

    Raises:
        ValueError: shapes differ, a score is NaN, or the rule is unknown.

    Example:
        >>> fit_thresholds([[0.875], [0.75], [0.25]], [[1], [0], [1]]).tolist()
        [0.5]
    """
    scores, positive = np.asarray(scores, dtype=np.float32), np.asarray(positive, dtype=bool)
    if scores.ndim != 2 or scores.shape != positive.shape:
        raise ValueError(f"scores and positive must both be (K, C), got {scores.shape} and {positive.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores must not be NaN")
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be one of {list(get_args(Rule))}, got {rule!r}")
    total = positive.sum(axis=0) if num_positive is None else np.asarray(num_positive)
    if total.shape != (scores.shape[1],):
        raise ValueError(f"num_positive must be ({scores.shape[1]},), got {total.shape}")
    return np.array([_fit(scores[:, c], positive[:, c], int(total[c]), rule) for c in range(scores.shape[1])])


def _fit(scores: NDArray[np.float32], positive: NDArray[np.bool_], total: int, rule: Rule) -> float:
    if total == 0 or len(scores) == 0:
        return UNFITTED
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    # A cut lies after the last of a run of equal scores; this many labels are then reported.
    reported = np.append(np.flatnonzero(falling[1:] != falling[:-1]) + 1, len(falling))
    if rule == "break-even":
        best = int(np.abs(reported - total).argmin())
    else:
        right = np.cumsum(positive[order])[reported - 1]
        best = int((2 * right / (reported + total)).argmax())
    last = falling[reported[best] - 1]
    below = falling[reported[best]] if reported[best] < len(falling) else np.float32(0.0)
    middle = (last + below) / np.float32(2)
    # Between neighbouring float32 numbers there is no middle.
    return float(middle if middle < last else below)


@dataclass(frozen=True, eq=False)
class LabelQuality:
    """Precision and recall of the labels that are reported at given thresholds.

    Attributes:
        thresholds: (C,) what a score must exceed.
        precision: (C,) share of the reported labels that are right; 0 where none is reported.
        recall: (C,) share of the people who show the class for whom it is reported; NaN where nobody shows it.
        f1: (C,) their harmonic mean; NaN where nobody shows the class.

    Example:
        >>> one = np.array([0.5])
        >>> LabelQuality(thresholds=one, precision=one, recall=one, f1=one).f1
        array([0.5])
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @property
    def macro_f1(self) -> float:
        """Mean of `f1` over the classes that occur."""
        return mean_of_defined(self.f1)


def label_quality(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    support: NDArray[np.int64],
    thresholds: Sequence[float] | NDArray[np.float64],
) -> LabelQuality:
    """Precision, recall and F1 of each class at its threshold.

    Args:
        scores: (K, C) of the candidates.
        positive: (K, C) whether a candidate is right.
        support: (C,) number of positives, among the candidates or not.
        thresholds: (C,).

    Raises:
        ValueError: there is not one threshold per class.

    Example:
        >>> quality = label_quality(np.array([[0.9], [0.6]]), np.array([[True], [False]]), np.array([2]), [0.5])
        >>> quality.precision.tolist(), quality.recall.tolist(), quality.macro_f1
        ([0.5], [0.5], 0.5)
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    if limits.shape != support.shape:
        raise ValueError(f"thresholds must be {len(support)} numbers, one per class, got shape {limits.shape}")
    reported = scores > limits
    right, count = (reported & positive).sum(axis=0), reported.sum(axis=0)
    occurs = support > 0
    undefined = np.full(len(support), np.nan)
    return LabelQuality(
        thresholds=limits,
        precision=right / np.maximum(count, 1),
        recall=np.divide(right, support, out=undefined.copy(), where=occurs),
        f1=np.divide(2 * right, count + support, out=undefined.copy(), where=occurs),
    )
