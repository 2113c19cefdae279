"""Errors of loading processes as the data set raised them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch.utils.data import DataLoader

from dsct.data.loading_processes import killed_ones_named, stop_signals_held

T = TypeVar("T")

_OF_WORKER = re.compile(r"Caught (\w+) in \w+ worker process \d+\.\n.*\n[\w.]*\1: (.*)", re.DOTALL)


def loaded(loader: Iterable[T]) -> Iterator[T]:
    """What a ``DataLoader`` yields, with the errors of its processes as they would be without processes.

    torch puts the traceback of the process into the message. Here the message is the data set's, such as the name of
    the file that cannot be read. Processes that it starts have the signals blocked that stop a job.

    Args:
        loader: any iterable, for instance a ``DataLoader``.

    Returns:
        Its items.

    Raises:
        ChildProcessError: a loading process was killed.

    Example:
        >>> list(loaded([1, 2]))
        [1, 2]
    """
    try:
        with killed_ones_named():
            with stop_signals_held():
                items = iter(loader)
            yield from items
    except Exception as error:
        found = _OF_WORKER.match(str(error))
        if found is None:
            raise
        raise type(error)(found[2].strip()) from None


@contextmanager
def processes_ended(loader: DataLoader[Any]) -> Iterator[None]:
    """After the block the processes are gone that a ``DataLoader`` keeps from epoch to epoch.

    Otherwise it ends them when it is deleted itself, and a traceback may hold it for long.
    """
    try:
        yield
    finally:
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()  # type: ignore[attr-defined]
            loader._iterator = None
