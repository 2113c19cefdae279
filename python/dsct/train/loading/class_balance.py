"""Rare classes: what they cost in the loss, and how often their images are seen.

Both follow from the annotations of the training data alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.data.records import Dataset
from dsct.train.config import CHOICES, TrainConfig

#: β of the effective number of Cui et al. (2019): beyond about 1 / (1 − β) people, more of them say little new.
BETA = 0.999


def class_weights(data: Dataset, kind: str | Sequence[float] = "inverse") -> tuple[float, ...] | None:
    """Weights for `SetCriterion`, from the number n_c of training people that show each class c.

    * ``"inverse"``: in proportion to 1 / n_c;
    * ``"effective_number"``: in proportion to (1 − β) / (1 − β^n_c) with β = 0.999 (Cui et al. 2019), which treats all
      classes with thousands of people alike.

    They are scaled so that their mean over the labels of all people is 1. A class that nobody shows gets 1.

    Args:
        data: training data with ``annotations(i)`` and ``class_names``; no image is opened.
        kind: of the weights, ``"none"``, or C numbers, which are returned as they are.

    Returns:
        C numbers, or None for ``"none"``.

    Raises:
        TypeError: the data set has no annotations.
        ValueError: the kind is unknown, or the number of weights is not that of the classes.

    Example:
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> weights = class_weights(SyntheticDataset("train", 50))
        >>> len(weights), min(weights) < 1 < max(weights)
        (7, True)
    """
    if not isinstance(kind, str):
        names = getattr(data, "class_names", kind)
        if len(kind) != len(names):
            raise ValueError(f"class_weights must be {len(names)} numbers, one per class, got {len(kind)}")
        return tuple(kind)
    if kind not in CHOICES["class_weights"]:
        raise ValueError(f"class_weights must be one of {', '.join(CHOICES['class_weights'])}, got {kind!r}")
    if kind == "none":
        return None
    counts = _labels_by_image(data).sum(axis=0)
    number = np.maximum(counts, 1).astype(np.float64)
    weights = 1 / number if kind == "inverse" else (1 - BETA) / (1 - BETA**number)
    if counts.any():
        weights *= counts.sum() / (weights * counts).sum()
    weights[counts == 0] = 1.0
    return tuple(weights.tolist())


def repeat_factors(data: Dataset, threshold: float) -> NDArray[np.float64]:
    """How often an epoch shows each image on average (repeat-factor sampling, Gupta et al. 2019).

    With f_c the share of the images that show class c, an image's factor is the largest max(1, √(threshold / f_c)) of
    its classes; an image without people has 1.

    Args:
        data: training data with ``annotations(i)`` and ``class_names``; no image is opened.
        threshold: share of the images from which on a class is frequent enough; 0 repeats nothing.

    Returns:
        (n,) numbers from 1 on.

    Raises:
        TypeError: the data set has no annotations.

    Example:
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> factors = repeat_factors(SyntheticDataset("train", 50), threshold=0.5)
        >>> float(factors.min()) >= 1 < float(factors.max())
        True
    """
    shows = _labels_by_image(data) > 0
    share = np.maximum(shows.mean(axis=0), 1 / len(shows))
    of_class = np.maximum(1.0, np.sqrt(threshold / share))
    factors: NDArray[np.float64] = np.where(shows, of_class, 1.0).max(axis=1, initial=1.0)
    return factors


def repeated(order: NDArray[np.int64], factors: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """The images of one epoch: each as often as its factor says on average, and always equally many in all.

    Args:
        order: (n,) the images in random order.
        factors: (n,) by image.
        random: draws which images get the rounded-up number.

    Returns:
        (m,) images in random order, with m = :func:`epoch_length`.
    """
    # Systematic sampling: one random offset, so that every count is its factor rounded down or up.
    steps = np.cumsum(factors[order]) * (epoch_length(factors) / factors.sum())
    ends = np.floor(steps + random.uniform()).astype(np.int64)
    ends[-1] = epoch_length(factors)
    return random.permutation(np.repeat(order, np.diff(ends, prepend=0)))


def epoch_length(factors: NDArray[np.float64]) -> int:
    """Images in an epoch: the sum of the factors, rounded up."""
    return math.ceil(float(factors.sum()) - 1e-6)


def _labels_by_image(data: Dataset) -> NDArray[np.int64]:
    """(n, C) how many people in each image show each class."""
    read: Any = getattr(data, "annotations", None)
    names = getattr(data, "class_names", None)
    if read is None or names is None:
        raise TypeError(
            f"class balance needs a data set with annotations(i) and class_names, got {type(data).__name__}"
        )
    rows = np.zeros((len(data), len(names)), dtype=np.int64)
    for index in range(len(data)):
        labels = np.asarray(read(index).labels)
        rows[index] = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(names))
    return rows


def require_weights(config: TrainConfig, criterion: Any) -> None:
    """Refuses a criterion, which the caller builds, without the weights that the recipe speaks of.

    Raises:
        ValueError: it weighs no classes.
    """
    if config.class_weights != "none" and getattr(criterion, "class_weights", None) is None:
        raise ValueError(
            f"criterion must weigh the classes for class_weights={config.class_weights!r}: SetCriterion(cfg, "
            "class_weights=dsct.train.class_weights(data, ...))"
        )
