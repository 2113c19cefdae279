"""The record type that every data set of the package returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

Target = dict[str, Any]
"""What describes the people of one image during training: see :meth:`Annotations.to_target`."""


class Dataset(Protocol):
    """What training and evaluation need from a data set; ``split`` names the part it contains, such as ``"train"``.

    Example:
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> data: Dataset = SyntheticDataset("train", 2)
        >>> len(data), data.split
        (2, 'train')
    """

    split: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Target]: ...


@dataclass(frozen=True, eq=False)
class Annotations:
    """The people of one image, before any transform.

    Attributes:
        image_path: the image file, or ``None`` for an image that exists in memory only.
        boxes: (n, 4) float32, ``x1 y1 x2 y2`` in pixels of the upright image.
        labels: (n,) int64 class numbers, or (n, C) of 0 and 1 when a person can show several emotions.
        size: (width, height) of the upright image in pixels.
        continuous: (n, 3) float32 valence, arousal and dominance as the data state them, NaN where unknown; EMOTIC's
            go from 1 to 10. ``None``: unknown for everybody.
        attributes: name -> one text per person, ``""`` where unknown; EMOTIC states ``age`` and ``gender``.

    Raises:
        ValueError: a shape does not fit, a box is not finite or has no area, a label is negative, or
            there is not one row of `continuous` or one text of an attribute per person.

    Example:
        >>> import numpy as np
        >>> one = Annotations(None, np.array([[10, 20, 50, 80]]), np.array([3]), (640, 480))
        >>> len(one), one.boxes.dtype.name
        (1, 'float32')
    """

    image_path: Path | None
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    size: tuple[int, int]
    continuous: NDArray[np.float32] | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float32)
        labels = np.asarray(self.labels, dtype=np.int64)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must be (n, 4), got {boxes.shape}")
        if labels.ndim not in (1, 2) or len(labels) != len(boxes):
            raise ValueError(
                f"labels must be ({len(boxes)},) or ({len(boxes)}, C), one row per box, got {labels.shape}"
            )
        if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
            raise ValueError(f"boxes must be finite x1 y1 x2 y2 with x2 > x1 and y2 > y1, got {boxes.tolist()}")
        if (labels < 0).any() or (labels.ndim == 2 and (labels > 1).any()):
            raise ValueError("labels must be class numbers (n,) from 0 on, or (n, C) of 0 and 1")
        if min(self.size) < 1:
            raise ValueError(f"size must be a positive (width, height), got {self.size}")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "labels", labels)
        self._check_people()

    def _check_people(self) -> None:
        """What is known about the people beside their boxes and labels."""
        if self.continuous is not None:
            continuous = np.asarray(self.continuous, dtype=np.float32)
            if continuous.shape != (len(self), 3):
                raise ValueError(f"continuous must be ({len(self)}, 3), one row per box, got {continuous.shape}")
            object.__setattr__(self, "continuous", continuous)
        for name, texts in self.attributes.items():
            if isinstance(texts, str) or len(texts) != len(self):
                raise ValueError(f"attributes[{name!r}] must be {len(self)} texts, one per box, got {texts!r}")

    def __len__(self) -> int:
        """Number of people."""
        return len(self.boxes)

    def to_target(self, image_id: int | str) -> Target:
        """The target that the transforms start from.

        Args:
            image_id: names the image in messages and results.

        Returns:
            ``boxes`` (n, 4) float32 ``tv_tensors.BoundingBoxes`` in ``x1 y1 x2 y2`` pixels; ``labels`` int64 tensor;
            ``image_id``; ``orig_size`` (2,) int64 tensor of height and width.
        """
        width, height = self.size
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(self.boxes.copy()), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(height, width)
        )
        return {
            "boxes": boxes,
            "labels": torch.from_numpy(self.labels.copy()),
            "image_id": image_id,
            "orig_size": torch.tensor([height, width]),
        }
