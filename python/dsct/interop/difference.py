"""How far two results lie apart, as one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: A larger difference is another computation; rounding in float32 stays far below it.
LARGEST = 1e-3


def says_nothing(expected: Tensor) -> bool:
    """Whether nothing can be compared with it: a number is NaN, or none is finite, so that all else is hidden.

    Example:
        >>> says_nothing(torch.tensor([1.0, torch.inf])), says_nothing(torch.tensor([torch.inf]))
        (False, True)
    """
    return bool(expected.isnan().any()) or (expected.numel() > 0 and not bool(expected.isfinite().any()))


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest finite value of `expected`.

    Returns:
        Infinity where shapes differ, a number is not finite on one side only, or in another way, or `expected` says
        nothing (:func:`says_nothing`).

    Example:
        >>> difference(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
        0.5
    """
    if found.shape != expected.shape:
        return math.inf
    found, expected = found.double(), expected.double()
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()) or not torch.equal(found[~finite], expected[~finite]):
        return math.inf
    if says_nothing(expected):
        return math.inf
    if not expected.numel():
        return 0.0
    found, expected = found[finite], expected[finite]
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
