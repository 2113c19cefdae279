"""Non-interpolated average precision for many classes, and many weightings of the images, at once."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

import dsct._dsct as _dsct

Number = TypeVar("Number", np.float64, np.int64)


def average_precision(
    scores: ArrayLike, positive: ArrayLike, num_positive: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Average precision AP = Σ_k (R_k − R_{k−1}) P_k over the distinct scores, highest first, for each class.

    Equal to ``sklearn.metrics.average_precision_score`` on every column that has a positive. `num_positive` extends
    it to detection, where positives that no candidate found lower the recall.

    Args:
        scores: (K, C) score of each candidate for each class. Equal scores are one step, as in scikit-learn.
        positive: (K, C) 0/1 or bool, whether the candidate is right.
        num_positive: (C,) number of positives, found or not; by default those among the candidates.

    Returns:
        (C,) float64; NaN for a class without any positive, 0 where there are positives and none was found.

    Raises:
        ValueError: shapes differ, a score is NaN, or there are fewer positives than were found.

    Example:
        >>> average_precision([[0.9], [0.8], [0.1]], [[1], [0], [1]]).round(3).tolist()
        [0.833]
    """
    positive = np.asarray(positive, dtype=bool)
    found = positive.sum(axis=0)
    total = found if num_positive is None else np.asarray(num_positive)
    if total.shape != found.shape or (total < found).any():
        raise ValueError(f"num_positive must be ({found.size},) and at least the number found {found}, got {total}")
    everything = np.ones((1, 1))
    image = np.zeros(len(positive), dtype=np.int64)
    row: NDArray[np.float64] = weighted_average_precision(scores, positive, image, everything, total[None])[0]
    return row


def weighted_average_precision(
    scores: ArrayLike, positive: ArrayLike, image: ArrayLike, weights: ArrayLike, num_positive: ArrayLike
) -> NDArray[np.float64]:
    """:func:`average_precision` under R weightings of the images; each class is sorted only once.

    A row of `weights` equals scikit-learn's ``sample_weight``: a bootstrap resample is how often each image was drawn,
    a subset of the images is a row of 0 and 1.

    Args:
        scores: (K, C) score of each candidate for each class.
        positive: (K, C) 0/1 or bool, whether the candidate is right.
        image: (K,) which of the I images the candidate belongs to.
        weights: (R, I) finite and not negative.
        num_positive: (R, C) weight of all positives, found or not.

    Returns:
        (R, C) float64; NaN for a class without any positive.

    Raises:
        ValueError: shapes do not fit, a score is NaN, or there are fewer positives than were found.

    Example:
        >>> weights = [[1, 1], [1, 0]]
        >>> weighted_average_precision([[0.9], [0.8]], [[0], [1]], [0, 1], weights, [[1], [0]]).tolist()
        [[0.5], [nan]]
    """
    scores = aligned(scores, np.float64)
    positive = np.asarray(positive, dtype=bool)
    if scores.ndim != 2 or positive.shape != scores.shape:
        raise ValueError(f"scores and positive must both be (K, C), got {scores.shape} and {positive.shape}")
    weights = aligned(weights, np.float64)
    image = aligned(image, np.int64)
    images = weights.shape[-1]
    if image.shape != scores.shape[:1] or (image < 0).any() or (image >= images).any():
        got = f"shape {image.shape}, from {image.min(initial=0)} to {image.max(initial=0)}"
        raise ValueError(f"image must be ({len(scores)},) numbers in 0..{images - 1}, one per candidate, got {got}")
    num_positive = aligned(num_positive, np.float64)
    expected = (len(weights), scores.shape[1])
    if num_positive.shape != expected:
        raise ValueError(f"num_positive must be {expected}, a row per weighting, got {num_positive.shape}")
    return _dsct.average_precision(scores, positive, image, weights, num_positive)


def aligned(values: ArrayLike, dtype: type[Number]) -> NDArray[Number]:
    """An array that the native code can read: `values` itself where it is one, else a copy."""
    return np.require(values, dtype, ("ALIGNED", "ENSUREARRAY"))
