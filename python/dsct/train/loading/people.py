"""Whether there is anybody to train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dsct.data.annotated import AnnotatedDataset
from dsct.data.collate import Batch
from dsct.data.records import Dataset

#: Share of boxes below one pixel from which on they cannot be pixels.
NEARLY_ALL = 0.95


def people_in(parts: Sequence[Batch]) -> int:
    """People in the targets whose boxes are at least one pixel wide and high in the images of the batch."""
    count = 0
    for part in parts:
        height, width = part.images.shape[-2:]
        for target in part.targets:
            sides = target["boxes"].reshape(-1, 4)[:, 2:] * torch.tensor([width, height], dtype=torch.float32)
            count += int((sides >= 1).all(dim=1).sum())
    return count


def require_people(data: Dataset) -> None:
    """Refuses annotations from which nothing can be learnt; other data sets show it as they are trained on.

    Raises:
        ValueError: there is nobody, or nearly all boxes are smaller than a pixel.
    """
    if not isinstance(data, AnnotatedDataset):
        return
    boxes = np.concatenate([data.annotations(index).boxes for index in range(len(data))])
    if not len(boxes):
        raise ValueError(f"the training data show nobody: {len(data)} images without people")
    small = int(((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < 1).sum())
    if small >= NEARLY_ALL * len(boxes):
        raise ValueError(
            f"{'all' if small == len(boxes) else 'nearly all'} boxes are smaller than a pixel ({small} of "
            f"{len(boxes)}): x1, y1, x2, y2 must be pixels, not fractions"
        )
