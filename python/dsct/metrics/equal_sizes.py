"""Batches of images of equal size: nothing is padded, so the result of an image does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from dsct.data.collate import Batch, collate
from dsct.data.records import Target

Sample = tuple[torch.Tensor, Target]

#: Images that may wait for others of their size, in batches. A data set of photographs has hundreds of sizes.
_WAITING_BATCHES = 4


def batches_of_equal_size(samples: Iterable[tuple[int, Sample]], batch_size: int) -> Iterator[tuple[list[int], Batch]]:
    """Groups samples by the size of their image; only a few batches are in memory.

    A batch is complete when `batch_size` images of one size have come. When too many wait, the largest group goes on
    incomplete; at the end all do.

    Args:
        samples: (id, (image (3, H, W), target)).
        batch_size: most images of a batch, at least 1.

    Yields:
        The ids and the images of a batch, with ``mask`` None.

    Raises:
        ValueError: `batch_size` is below 1, or an image is not (3, H, W).

    Example:
        >>> sizes = [(3, 2, 4), (3, 4, 2), (3, 2, 4)]
        >>> samples = [(place, (torch.zeros(size), {})) for place, size in enumerate(sizes)]
        >>> [(ids, tuple(batch.images.shape)) for ids, batch in batches_of_equal_size(samples, 2)]
        [([0, 2], (2, 3, 2, 4)), ([1], (1, 3, 4, 2))]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    waiting: dict[torch.Size, list[tuple[int, Sample]]] = {}
    count = 0
    for one, sample in samples:
        group = waiting.setdefault(sample[0].shape, [])
        group.append((one, sample))
        count += 1
        if len(group) < batch_size:
            if count < _WAITING_BATCHES * batch_size:
                continue
            group = max(waiting.values(), key=len)
        del waiting[group[0][1][0].shape]
        count -= len(group)
        yield _batch(group)
    for group in waiting.values():
        yield _batch(group)


def _batch(group: list[tuple[int, Sample]]) -> tuple[list[int], Batch]:
    return [one for one, _ in group], collate([sample for _, sample in group])
