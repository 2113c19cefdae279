"""Images that cannot be read, found before training begins."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from dsct.data.loaded import loaded
from dsct.data.loading_processes import leave_signals_to_main
from dsct.data.records import Dataset
from dsct.train.interrupt import StopTogether
from dsct.train.processes.distributed import Processes

#: What a data set raises at a file that is missing, damaged or not what its annotations say.
UNREADABLE = (OSError, ValueError, SyntaxError)

NAMED = 3


def broken_images(data: Dataset, workers: int, processes: Processes, stopping: StopTogether) -> dict[int, str]:
    """Opens every image once, shared among the processes; all of them call it.

    Args:
        data: images and targets; its transform is applied, too.
        workers: processes that load; the result does not depend on it.
        processes: each takes its share of the images.
        stopping: asked after every image.

    Returns:
        What is wrong, by the index of the image, the same in every process.

    Raises:
        ValueError: no image can be read.
        Stopped: a process was asked to stop; raised in all of them.
    """
    share = range(processes.rank, len(data), processes.world_size)
    loader: DataLoader[Any] = DataLoader(
        _Attempts(data),  # type: ignore[arg-type]  # any sequence works
        batch_size=None,
        sampler=share,
        num_workers=workers,
        worker_init_fn=leave_signals_to_main,
        generator=torch.Generator(),
    )
    found: dict[int, str] = {}
    for index, problem in zip(share, loaded(loader), strict=True):
        if problem:
            found[index] = problem
        stopping.after_item()
    stopping.after_all()
    everyone = processes.gather(found)
    joined = None if everyone is None else {index: problem for one in everyone for index, problem in one.items()}
    broken = dict(sorted(processes.broadcast(joined).items()))  # type: ignore[union-attr]
    if len(broken) == len(data):
        first = next(iter(broken.values()), "")
        raise ValueError(f"none of {len(data)} images can be read; the first: {first}")
    return broken


def describe_broken(broken: dict[int, str], total: int, split: str) -> str:
    """How many images are left out, and the first of them, as a sentence.

    Example:
        >>> describe_broken({4: "a.jpg: truncated"}, 12, "train")
        'train: 1 of 12 images cannot be read and is skipped: a.jpg: truncated'
    """
    named = "; ".join(list(broken.values())[:NAMED]) + ("; …" if len(broken) > NAMED else "")
    verb = "is" if len(broken) == 1 else "are"
    return f"{split}: {len(broken)} of {total} images cannot be read and {verb} skipped: {named}"


class _Attempts:
    """What is wrong with each image, as text, empty if nothing is."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> str:
        with torch.random.fork_rng(devices=[]):
            try:
                self.data[index]
            except UNREADABLE as error:
                return str(error) or type(error).__name__
        return ""
