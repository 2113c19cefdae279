"""Order and randomness of the training data, as a function of seed, epoch and image alone.

So a run can stop after any step and continue as if it had not, and the number of loading processes changes nothing.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from dsct.data.collate import Batch, collate
from dsct.data.loading_processes import leave_signals_to_main
from dsct.data.records import Dataset, Target
from dsct.train.loading.class_balance import epoch_length, repeated
from dsct.train.processes.distributed import Processes

SeededIndex = tuple[int, int]

#: Limits of width / height between groups of images that may share a batch: upright, square, 4:3, 3:2 and wider.
ASPECT_RATIO_BORDERS = (0.8, 1.2, 1.4, 1.6)


class EpochBatches(Sampler[list[SeededIndex]]):
    """Batches of (index, seed of the augmentation), shuffled again in every epoch; the last batch may be smaller.

    Args:
        length: images in the data set.
        batch_size: images per batch.
        seed: of the run.
        aspect_ratios: (length,) width / height; if given, every batch contains images of similar shape, as far as
            their numbers allow.
        factors: (length,) how often an epoch has each image, on average; see
            :func:`dsct.train.loading.class_balance.repeat_factors`. Each time it is augmented anew.
        left_out: indices of images that cannot be read. They are missing from their batches, which may then be empty;
            everything else stays in its place.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        aspect_ratios: Sequence[float] | None = None,
        factors: NDArray[np.float64] | None = None,
        left_out: Collection[int] = (),
    ) -> None:
        if length < 1:
            raise ValueError("the training data must hold at least one image, got none")
        self.length = length if factors is None else epoch_length(factors)
        self.factors = factors
        self.left_out = frozenset(left_out)
        self._images = length
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0
        self._drawn: tuple[tuple[int, frozenset[int]], list[list[tuple[int, int]]]] | None = None
        self._groups: NDArray[np.int64] | None = None
        if aspect_ratios is not None:
            if len(aspect_ratios) != length:
                raise ValueError(f"aspect_ratios must have {length} entries, one per image, got {len(aspect_ratios)}")
            self._groups = np.digitize(np.asarray(aspect_ratios), ASPECT_RATIO_BORDERS).astype(np.int64)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        """The batches of `epoch` from number `start` on."""
        for batch in self._epoch_order()[self.start :]:
            # Without repetition the seed is what it was before there were any.
            times = ((index, [time] if time else []) for index, time in batch)
            yield [(index, _sample_seed(self.seed, self.epoch, index, *time)) for index, time in times]

    def stand_in(self) -> list[SeededIndex]:
        """One image that can be read, for a process that has none but must compute."""
        return [next((index, 0) for index in range(self._images) if index not in self.left_out)]

    def size(self, batch: int) -> int:
        """Number of images in a batch of the epoch."""
        return len(self._epoch_order()[batch])

    def _epoch_order(self) -> list[list[tuple[int, int]]]:
        """The batches of `epoch` as (index, number of the repetition), kept until others are asked for."""
        asked = self.epoch, self.left_out
        if self._drawn is None or self._drawn[0] != asked:
            batches = [[image for image in batch if image[0] not in self.left_out] for batch in self._batches()]
            self._drawn = asked, batches
        return self._drawn[1]

    def _batches(self) -> list[list[tuple[int, int]]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(self._images)
        if self.factors is not None:
            order = repeated(order, self.factors, random)
        if self._groups is not None:
            # Stable: within a group the order stays random. Batches are mixed only where two groups meet.
            order = order[np.argsort(self._groups[order], kind="stable")]
        seen: Counter[int] = Counter()
        numbered = []
        for index in order.tolist():
            numbered.append((index, seen[index]))
            seen[index] += 1
        cuts = range(0, self.length, self.batch_size)
        batches = [numbered[cut : cut + self.batch_size] for cut in cuts]
        if self._groups is not None:
            # The smaller batch, if there is one, stays last.
            full = self.length // self.batch_size
            batches = [batches[i] for i in random.permutation(full)] + batches[full:]
        return batches


class SeededSamples(TorchDataset[tuple[Any, Target]]):
    """A data set whose random transforms depend only on the seed passed with the index.

    Transforms must draw from torch's generator, as :mod:`dsct.data.transforms` does.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def __getitem__(self, seeded: SeededIndex) -> tuple[Any, Target]:
        index, seed = seeded
        # Only the CPU generator is seeded, and restored: dropout in the main process draws from it too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.data[index]


def training_loader(
    data: Dataset, batches: Sampler[list[SeededIndex]], workers: int, micro_batches: int = 1
) -> DataLoader[list[Batch]]:
    """Loads the batches that `batches` lists, each as at most `micro_batches` parts that are padded separately.

    Iterate again after setting the sampler's ``epoch`` and ``start``.
    """
    return DataLoader(
        SeededSamples(data),  # type: ignore[arg-type]  # the collate function turns samples into batches
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=functools.partial(collate_parts, parts=micro_batches),
        worker_init_fn=leave_signals_to_main,
        persistent_workers=workers > 0,
        generator=torch.Generator(),
    )


def collate_parts(samples: Sequence[tuple[torch.Tensor, Target]], parts: int) -> list[Batch]:
    """Divides samples into `parts` nearly equal runs, fewer where there are fewer samples, and collates each.

    Example:
        >>> samples = [(torch.zeros(3, 2, 2), {})] * 5
        >>> [len(part.images) for part in collate_parts(samples, 2)]
        [3, 2]
    """
    runs = np.array_split(np.arange(len(samples)), min(parts, len(samples)))
    return [collate([samples[i] for i in run]) for run in runs]


def aspect_ratios(data: Dataset) -> list[float]:
    """Width / height of every image, from the annotations alone.

    Raises:
        TypeError: the data set has no ``annotations``.
    """
    read = getattr(data, "annotations", None)
    if read is None:
        raise TypeError(
            f"batching by aspect_ratio needs a data set with annotations(i).size, got {type(data).__name__}"
        )
    sizes = [read(i).size for i in range(len(data))]
    return [width / height for width, height in sizes]


def _sample_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


class ShardedBatches(Sampler[list[SeededIndex]]):
    """This process's part of every batch: every ``world_size``-th row from ``rank`` on.

    The parts of all processes make up the batch, each row once. If a batch has fewer rows than there are processes, a
    process without a row gets the batch's first row as a stand-in, or any image if the batch is empty: it must compute
    too, because the others wait for its gradients, but its loss has weight 0. :meth:`rows` gives the number of rows
    that count.

    A part is padded to its own largest image, so the result depends on the number of processes only as far as it
    depends on padding.

    Args:
        batches: of the whole run; its ``epoch`` and ``start`` stay in use.
        processes: among which to share.

    Example:
        >>> parts = ShardedBatches(EpochBatches(5, 4, seed=0), Processes(rank=1, world_size=2))
        >>> [len(part) for part in parts], [parts.rows(batch) for batch in range(2)]
        ([2, 1], [2, 0])
    """

    def __init__(self, batches: EpochBatches, processes: Processes) -> None:
        self.batches = batches
        self.processes = processes

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        for batch in self.batches:
            own = [batch[row] for row in shard_indices(len(batch), self.processes)]
            yield own or batch[:1] or self.batches.stand_in()

    def rows(self, batch: int) -> int:
        """Number of rows of this process that count in a batch of the epoch; 0 means that it has a stand-in."""
        return len(shard_indices(self.batches.size(batch), self.processes))

    def most_rows(self, batch: int) -> int:
        """The most rows that a process has in a batch of the epoch."""
        return max(1, -(-self.batches.size(batch) // self.processes.world_size))


def shard_indices(length: int, processes: Processes) -> range:
    """Which of `length` items this process takes; all processes together take each of them once.

    Args:
        length: number of items.
        processes: among which to share.

    Returns:
        Every ``world_size``-th index from ``rank`` on; nothing is repeated to make the shares equal.

    Example:
        >>> [list(shard_indices(5, Processes(rank=rank, world_size=2))) for rank in range(2)]
        [[0, 2, 4], [1, 3]]
    """
    return range(processes.rank, length, processes.world_size)
