"""Whether probabilities mean what they say: reliability by bin and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsct.metrics.means import mean_of_defined, ratio
from dsct.metrics.protocols import Verdict

BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Reliability of R confidences in B bins of equal width.

    The expected calibration error (ECE) is the mean over people of the distance between mean confidence and share
    right in their bin: Σ_b count_b / count · |share_b − confidence_b|. It depends on the number of bins, and with
    few people it is above 0 for perfect probabilities too.

    Attributes:
        names: what the R confidences are of: the classes of a multi-label model, else ``("predicted class",)``.
        edges: (B + 1,) of the bins, from 0 to 1. A bin contains its upper edge; the first contains 0, too.
        count: (R, B) people in the bin.
        confidence: (R, B) their mean confidence, NaN in an empty bin.
        share: (R, B) the share of them for whom the class is right, NaN in an empty bin.
        errors: (R,) expected calibration error of each; NaN without people.

    Example:
        >>> found = calibration([[0.9], [0.9]], [[1], [0]], ["calm"], bins=10)
        >>> found.count[0].tolist(), float(found.share[0, 8]), round(found.error, 3)
        ([0, 0, 0, 0, 0, 0, 0, 0, 2, 0], 0.5, 0.4)
    """

    names: tuple[str, ...]
    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    share: NDArray[np.float64]
    errors: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Mean of `errors`: over the classes, or the error of the predicted class; NaN without people."""
        return mean_of_defined(self.errors)


def calibration(confidence: ArrayLike, right: ArrayLike, names: Sequence[str], bins: int = BINS) -> Calibration:
    """Compares confidences with how often they are right.

    Args:
        confidence: (K, R) in [0, 1].
        right: (K, R) 0/1 or bool.
        names: R names.
        bins: number of bins of equal width.

    Raises:
        ValueError: shapes do not fit, a confidence is outside [0, 1], or `bins` is below 1.

    Example:
        >>> calibration([[1.0], [0.0]], [[1], [0]], ["calm"]).error
        0.0
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if confidence.ndim != 2 or confidence.shape != right.shape or confidence.shape[1] != len(names):
        raise ValueError(f"confidence and right must both be (K, {len(names)}), a column per name, got "
                         f"{confidence.shape} and {right.shape}")  # fmt: skip
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("confidence must be in [0, 1]")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)
    rows = len(names)
    cell = (place + bins * np.arange(rows)).ravel()

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(cell, values.ravel(), rows * bins).reshape(rows, bins).astype(np.float64)

    count, sure, hits = total(np.ones_like(confidence)), total(confidence), total(right.astype(np.float64))
    return Calibration(
        tuple(names),
        edges,
        count.astype(np.int64),
        ratio(sure, count),
        ratio(hits, count),
        ratio(np.abs(hits - sure).sum(axis=1), count.sum(axis=1)),
    )


def of_verdict(verdict: Verdict, class_names: Sequence[str], multi_label: bool, bins: int = BINS) -> Calibration:
    """Calibration of the predictions that count for a person, under a protocol with one candidate per person.

    With several labels per person, every class is a question of its own: its probability against whether the person
    shows it. With one label, the confidence is the probability of the predicted class, the highest one, as the model
    reports it; it is right where that is the true class.
    """
    if multi_label:
        return calibration(verdict.scores, verdict.right, class_names, bins)
    answered = verdict.query >= 0
    true = verdict.person_labels[answered]
    right = true[np.arange(len(true)), verdict.predicted[answered]]
    return calibration(verdict.scores.max(axis=1, initial=0.0)[:, None], right[:, None], ["predicted class"], bins)
