"""The same numbers in arrays of awkward memory, and arrays that the native code cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]


def _read_only(array: Array) -> Array:
    array = array.copy()
    array.flags.writeable = False
    return array


def _every_other(array: Array) -> Array:
    """With other numbers between and around."""
    wide = np.full(tuple(2 * size + 1 for size in array.shape), 99, array.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "every other": _every_other,
    "backwards": lambda array: np.flip(np.flip(array).copy()),
    "read-only": _read_only,
}

UNREADABLE: list[tuple[Any, str]] = [
    (np.zeros((2, 2), np.float32), "must be a NumPy array of float64, got float32"),
    (np.zeros((2, 2), int), "must be a NumPy array of float64, got int64"),
    (np.zeros((2, 2), ">f8"), "must be a NumPy array of float64, got >f8"),
    (np.zeros((2, 2), object), "must be a NumPy array of float64, got object"),
    (np.zeros((2, 2), [("byte", "u1"), ("number", "f8")])["number"], "got one that is not aligned"),
    (np.zeros(33, np.uint8)[1:].view(np.float64).reshape(2, 2), "got one that is not aligned"),
    ([[0.0, 0.0], [0.0, 0.0]], "must be a NumPy array of float64, got list"),
    (torch.zeros(2, 2, dtype=torch.float64), "must be a NumPy array of float64, got Tensor"),
    (None, "must be a NumPy array of float64, got NoneType"),
]
