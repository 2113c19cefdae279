"""Order and randomness of the training data, as a function of seed, epoch and image alone.

So a run can stop after any step and go on as if it had not, and the number of loading processes changes nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from dsct.data.collate import Batch, collate
from dsct.data.records import Dataset, Target

SeededIndex = tuple[int, int]


class EpochBatches(Sampler[list[SeededIndex]]):
    """Batches of (index, seed of the augmentation), shuffled anew in every epoch; the last batch may be smaller.

    Args:
        length: images in the data set.
        batch_size: images per batch.
        seed: of the run.
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        if length < 1:
            raise ValueError("the training data must hold at least one image, got none")
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        """The batches of `epoch` from number `start` on."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length).tolist()
        for batch in range(self.start, len(self)):
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(index, _sample_seed(self.seed, self.epoch, index)) for index in indices]


class SeededSamples(TorchDataset[tuple[Any, Target]]):
    """A data set whose random transforms depend only on the seed handed in with the index.

    Transforms must draw from torch's generator, as :mod:`dsct.data.transforms` does.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def __getitem__(self, seeded: SeededIndex) -> tuple[Any, Target]:
        index, seed = seeded
        # Only the CPU generator is seeded, and given back: dropout of the main process draws from it too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.data[index]


def training_loader(data: Dataset, batches: EpochBatches, workers: int) -> DataLoader[Batch]:
    """Loads the batches that `batches` lists; iterate again after setting its ``epoch`` and ``start``."""
    return DataLoader(
        SeededSamples(data),  # type: ignore[arg-type]  # the collate function turns samples into a Batch
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_leave_interrupts_to_main,
        persistent_workers=workers > 0,
        generator=torch.Generator(),
    )


def _sample_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _leave_interrupts_to_main(_worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; a worker that died of it would spoil the step under way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
