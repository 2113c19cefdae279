"""How much a result would vary with other images of the same kind: percentile intervals of a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUMBERS_AT_ONCE = 2**24  # 128 MiB of weights


@dataclass(frozen=True)
class Bootstrap:
    """Resamples images with replacement. Images, not people: the people of one image are not independent.

    An average precision of few people rises a little when images repeat, so the interval of a rare class can lie above
    its value.

    Attributes:
        resamples: number of resamples.
        confidence: share of the resamples inside an interval, in (0, 1).
        seed: of the draws; equal seeds give equal intervals.

    Raises:
        ValueError: an attribute is out of range.

    Example:
        >>> bootstrap = Bootstrap(resamples=4)
        >>> [block.sum(axis=1).tolist() for block in bootstrap.weights(images=3)]
        [[3.0, 3.0, 3.0, 3.0]]
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"resamples must be at least 1, got {self.resamples}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {self.confidence}")

    def weights(self, images: int) -> Iterator[NDArray[np.float64]]:
        """Blocks (R, `images`) of how often each image was drawn; as many rows in all as there are resamples."""
        rng = np.random.default_rng(self.seed)
        rows = max(1, _NUMBERS_AT_ONCE // max(images, 1))
        for first in range(0, self.resamples, rows):
            count = min(rows, self.resamples - first)
            drawn = rng.integers(max(images, 1), size=(count, images)) + np.arange(count)[:, None] * images
            yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)

    def interval(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Percentile interval along the first axis.

        Args:
            values: (R, ...) one row per resample, NaN where it had nothing to evaluate.

        Returns:
            (..., 2) lower and upper end of the resamples that are not NaN; NaN where all are.
        """
        flat = values.reshape(len(values), -1)
        ends = np.full((flat.shape[1], 2), np.nan)
        defined = ~np.isnan(flat).all(axis=0)
        tail = (1 - self.confidence) / 2
        if defined.any():
            ends[defined] = np.nanquantile(flat[:, defined], [tail, 1 - tail], axis=0).T
        return ends.reshape(*values.shape[1:], 2)
