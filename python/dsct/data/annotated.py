"""A data set over existing records: what every reader of annotation files returns."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dsct.data.image_io import load_image
from dsct.data.records import Annotations, Target
from dsct.data.transforms import Transform


class AnnotatedDataset(torch.utils.data.Dataset[tuple[Any, Target]]):
    """Images on disk and the people in them.

    Annotations are in memory, images are opened on access, so that the data set can be passed to the worker processes
    of a ``DataLoader``.

    Args:
        records: one per image; ``image_path`` is relative to `image_root`.
        split: ``"train"``, ``"val"``, ``"test"`` or another name.
        class_names: C names, in the order of the labels.
        multi_label: labels are (n, C) of 0 and 1 instead of (n,) class numbers.
        image_root: folder of the images; ``None`` if only the annotations are needed.
        transforms: called with image and target; its result is what ``ds[i]`` returns.
        skipped: what was left out while reading: reason -> number of boxes or images.
        mended: what was corrected while reading and is there: reason -> number of boxes or images.
        examples: reason -> the first of what was left out or corrected: names of images or places in the file.
        source: a phrase that says where the annotations come from.

    Raises:
        ValueError: there is no record, or the labels of one do not fit `class_names` and `multi_label`.

    Example:
        >>> import numpy as np
        >>> record = Annotations(Path("a.jpg"), np.array([[10, 20, 50, 80]]), np.array([1]), (640, 480))
        >>> people = AnnotatedDataset([record], split="train", class_names=("calm", "happy"), multi_label=False)
        >>> len(people), people.class_names[people.annotations(0).labels[0]]
        (1, 'happy')
    """

    def __init__(
        self,
        records: Sequence[Annotations],
        *,
        split: str,
        class_names: Sequence[str],
        multi_label: bool,
        image_root: str | os.PathLike[str] | None = None,
        transforms: Transform | None = None,
        skipped: Mapping[str, int] | None = None,
        mended: Mapping[str, int] | None = None,
        examples: Mapping[str, Sequence[str]] | None = None,
        source: str = "",
    ) -> None:
        self.split = split
        self.class_names = tuple(class_names)
        self.multi_label = multi_label
        self.image_root = None if image_root is None else Path(image_root)
        self.transforms = transforms
        self.skipped = dict(skipped or {})
        self.mended = dict(mended or {})
        self.examples = {reason: tuple(names) for reason, names in (examples or {}).items()}
        self.source = source
        self._records = tuple(records)
        if not self._records:
            raise ValueError(f"{source or 'records'}: no image is left; {describe_skipped(self.skipped)}")
        for record in self._records:
            _check_labels(record, len(self.class_names), multi_label)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._records)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names and records: equal for the same data in another place, whatever the image files.

        Attributes of people and their continuous annotations do not count, because training does not use them.
        """
        digest = hashlib.sha256(json.dumps([self.class_names, self.multi_label]).encode())
        for record in self._records:
            name = "" if record.image_path is None else record.image_path.as_posix()
            digest.update(json.dumps([name, *record.size, record.labels.tolist()]).encode())
            digest.update(record.boxes.astype("<f4").tobytes())
        return digest.hexdigest()

    def annotations(self, index: int) -> Annotations:
        """Boxes and labels of one image; no image is opened.

        Args:
            index: 0 to ``len(self) - 1``.

        Returns:
            A record; its path includes the image root if there is one.

        Raises:
            IndexError: `index` is out of range.
        """
        record = self._record(index)
        if self.image_root is None or record.image_path is None:
            return record
        return dataclasses.replace(record, image_path=self.image_root / record.image_path)

    def __getitem__(self, index: int) -> tuple[Any, Target]:
        """Image and target.

        Args:
            index: 0 to ``len(self) - 1``.

        Returns:
            A PIL image, RGB and upright, and the target of ``Annotations.to_target``, whose ``image_id`` is the path
            relative to the image root; or, with ``transforms``, their result.

        Raises:
            IndexError: `index` is out of range.
            ValueError: the data set has no image root, or the image has another size than annotated.
            OSError: the image cannot be read.
        """
        record = self._record(index)
        if self.image_root is None or record.image_path is None:
            raise ValueError(f"image_root must be given to open images, got None for {record.image_path}")
        path = self.image_root / record.image_path
        image = _open(path)
        if image.size != record.size:
            raise ValueError(f"{path}: the image must be {record.size} (width, height) as annotated, got {image.size}")
        target = record.to_target(record.image_path.as_posix())
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def _record(self, index: int) -> Annotations:
        if not 0 <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index must be in 0..{len(self) - 1}, got {index}")
        return self._records[index]


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """What was left out, as a phrase for messages.

    Example:
        >>> describe_skipped({"missing image": 3, "degenerate box": 1})
        'missing image: 3, degenerate box: 1'
    """
    return ", ".join(f"{reason}: {count}" for reason, count in skipped.items()) or "nothing was left out"


def _open(path: Path) -> Image.Image:
    """The image; Pillow's own message about a damaged file does not name it."""
    try:
        return load_image(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise OSError(f"{path}: the image cannot be read: {error}") from error


def _check_labels(record: Annotations, classes: int, multi_label: bool) -> None:
    labels = record.labels
    if multi_label:
        fits = labels.ndim == 2 and labels.shape[1] == classes
    else:
        fits = labels.ndim == 1 and (labels < classes).all()
    if not fits:
        wanted = f"(n, {classes}) of 0 and 1" if multi_label else f"(n,) class numbers below {classes}"
        raise ValueError(f"{record.image_path}: labels must be {wanted}, got {labels.tolist()}")
