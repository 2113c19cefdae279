"""Means that leave out what does not exist, and chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """Mean without the NaNs; NaN, and no warning, when nothing is left.

    Example:
        >>> mean_of_defined(np.array([1.0, np.nan, 3.0]))
        2.0
    """
    return float(row_means(values[None])[0])


def chance_of(support: NDArray[np.int64], people: int, multi_label: bool) -> float:
    """Headline value without a model: mean share of the classes (C,) that occur, or that of the most frequent one.

    Example:
        >>> chance_of(np.array([3, 1, 0]), 4, multi_label=True), chance_of(np.array([3, 1, 0]), 4, multi_label=False)
        (0.5, 0.75)
    """
    occurring = support[support > 0] / max(people, 1)
    if not len(occurring):
        return float("nan")
    return float(occurring.mean() if multi_label else occurring.max())


def row_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, C) -> (R,): :func:`mean_of_defined` of each row."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """`part` / `whole`, NaN where `whole` is 0."""
    result: NDArray[np.float64] = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return result
