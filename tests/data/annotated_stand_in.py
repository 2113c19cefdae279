"""A data set made of records, for tests that need one on disk: the attributes of every loader and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torchvision.transforms.v2.functional import to_pil_image

from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data import Annotations, SyntheticDataset


@dataclass
class Records:
    """Records of one split."""

    records: Sequence[Annotations]
    split: str = "train"
    class_names: tuple[str, ...] = CAER_S_CLASSES
    multi_label: bool = False
    skipped: dict[str, int] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "records of a test"

    def __len__(self) -> int:
        return len(self.records)

    def annotations(self, index: int, /) -> Annotations:
        return self.records[index]


def drawn_on_disk(folder: Path, split: str = "train", size: int = 6, multi_label: bool = False) -> Records:
    """Synthetic scenes as JPEG files of 160 x 120 pixels."""
    scenes = SyntheticDataset(split, size, multi_label, image_size=(160, 120))
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for index in range(size):
        path = folder / f"{split}_{index:04d}.jpg"
        to_pil_image(scenes[index][0]).save(path, quality=90)
        one = scenes.annotations(index)
        records.append(Annotations(path, one.boxes, one.labels, one.size))
    names = EMOTIC_CLASSES if multi_label else CAER_S_CLASSES
    return Records(records, split, names, multi_label, source=f"scenes of {split}")


def record(path: Path | None, boxes: object, labels: object = None, size: tuple[int, int] = (160, 120)) -> Annotations:
    """One record; all people are of class 0 unless told."""
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Annotations(path, array, np.zeros(len(array), np.int64) if labels is None else np.array(labels), size)
