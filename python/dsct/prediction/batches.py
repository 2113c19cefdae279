"""Neighbours that run together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int, key: Callable[[T], Any] = lambda item: None) -> Iterator[list[T]]:
    """Groups of neighbours with an equal key, at most `size` of them; if reading fails, those read before come first.

    Example:
        >>> list(batches([1, 3, 5, 2, 4, 7], 2, key=lambda number: number % 2))
        [[1, 3], [5], [2, 4], [7]]
    """
    batch: list[T] = []
    failure: Exception | None = None
    try:
        for item in items:
            if batch and key(item) != key(batch[0]):
                yield batch
                batch = []
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception as error:
        failure = error
    if batch:
        yield batch
    if failure is not None:
        raise failure
