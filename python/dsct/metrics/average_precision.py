"""Non-interpolated average precision for many classes at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def average_precision(
    scores: ArrayLike, positive: ArrayLike, num_positive: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Average precision AP = Σ_k (R_k − R_{k−1}) P_k over the distinct scores, highest first, for each class.

    Equal to ``sklearn.metrics.average_precision_score`` on every column that has a positive. `num_positive` extends
    it to detection, where positives that nobody proposed lower the recall.

    Args:
        scores: (K, C) score of each candidate for each class. Equal scores are one step, as in scikit-learn.
        positive: (K, C) 0/1 or bool, whether the candidate is right.
        num_positive: (C,) positives there are, found or not; by default those among the candidates.

    Returns:
        (C,) float64; NaN for a class without any positive, 0 where positives exist and none was proposed.

    Raises:
        ValueError: shapes differ, a score is NaN, or there are fewer positives than were found.

    Example:
        >>> average_precision([[0.9], [0.8], [0.1]], [[1], [0], [1]]).round(3).tolist()
        [0.833]
    """
    scores = np.asarray(scores, dtype=np.float64)
    positive = np.asarray(positive, dtype=bool)
    if scores.ndim != 2 or positive.shape != scores.shape:
        raise ValueError(f"scores and positive must both be (K, C), got {scores.shape} and {positive.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores must not be NaN")
    found = positive.sum(axis=0)
    total = found if num_positive is None else np.asarray(num_positive)
    if total.shape != found.shape or (total < found).any():
        raise ValueError(f"num_positive must be ({len(found)},) and at least the number found {found}, got {total}")

    order = np.argsort(-scores, axis=0, kind="stable")
    sorted_scores = np.take_along_axis(scores, order, axis=0)
    hits = np.cumsum(np.take_along_axis(positive, order, axis=0), axis=0)
    precision = hits / np.arange(1, len(scores) + 1)[:, None]

    # Only the last candidate of a run of equal scores is a threshold; its precision stands for the whole run.
    is_threshold = np.ones(scores.shape, dtype=bool)
    is_threshold[:-1] = sorted_scores[1:] != sorted_scores[:-1]
    hits_so_far = np.maximum.accumulate(np.where(is_threshold, hits, 0), axis=0)
    new_hits = np.diff(hits_so_far, axis=0, prepend=0)
    area = (new_hits * precision).sum(axis=0)
    precision_of_class: NDArray[np.float64] = np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0)
    return precision_of_class
