"""From the content of an annotation file to records: image sizes, missing files, boxes that cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dsct.data.annotated import AnnotatedDataset, describe_skipped
from dsct.data.annotation_files.raw_annotations import RawAnnotations, RawImage, extent
from dsct.data.image_io import upright_size
from dsct.data.records import Annotations
from dsct.data.transforms import Transform

ImageRoot: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""Folder of the images, or several, of which the one with most of them is used."""

_PROBES = 50
_MOST_EXAMPLES = 5
_Data = TypeVar("_Data", bound=AnnotatedDataset)


def build(
    kind: type[_Data],
    raw: RawAnnotations,
    image_root: ImageRoot | None,
    transforms: Transform | None,
    size_of: Callable[[Path], tuple[int, int]] = upright_size,
) -> _Data:
    """The data set of an annotation file.

    Left out and counted: missing and unreadable images and images of another size than annotated (with an image root),
    boxes that are not finite or have no area inside the image, people without labels, and images in which every
    annotated person was left out, because they would teach that nobody is there. Images that never had a person are
    kept. Boxes that leave the image are clipped to it and counted.

    Args:
        kind: the class of the result.
        raw: the content of the file.
        image_root: where the images are; ``None`` opens no image file.
        transforms: of the data set.
        size_of: (width, height) of an image file; raises OSError if it cannot be read.

    Returns:
        A data set of class `kind`.

    Raises:
        ValueError: no image is left.
    """
    skipped = _Skipped()
    images = raw.images
    root = None
    source = raw.source
    if image_root is not None:
        root = _find_root(image_root, images)
        images = _measure(images, root, size_of, raw.certain_sizes, skipped)
    elif not raw.certain_sizes:
        source += ", image sizes guessed"
    skipped.counts.update(reason for image in images for reason in (*image.left_out, *image.mended))
    records = _records(images, len(raw.class_names), raw.multi_label, skipped)
    counts = {reason: count for reason, count in sorted(skipped.counts.items()) if count}
    if not records:
        where = "" if root is None else f" with images in {root}"
        raise ValueError(f"{raw.path}{where}: no image is left of {len(raw.images)}; {describe_skipped(counts)}")
    return kind(
        records,
        split=raw.split,
        class_names=raw.class_names,
        multi_label=raw.multi_label,
        image_root=root,
        transforms=transforms,
        skipped=counts,
        examples=skipped.images,
        source=f"{raw.path.name}, {source}",
    )


@dataclass
class _Skipped:
    """What was left out or changed: how often, and, for whole images, the first names."""

    counts: Counter[str] = field(default_factory=Counter)
    images: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, image: RawImage) -> None:
        self.counts[reason] += 1
        names = self.images.setdefault(reason, [])
        if len(names) < _MOST_EXAMPLES:
            names.append(image.name)


def _find_root(image_root: ImageRoot, images: Sequence[RawImage]) -> Path:
    """The folder that has most of a sample of the images in the file."""
    if isinstance(image_root, (str, os.PathLike)):
        return Path(image_root)
    probes = images[:: max(1, len(images) // _PROBES)]
    return max(map(Path, image_root), key=lambda root: sum(_find(root, image) is not None for image in probes))


def _find(root: Path, image: RawImage) -> str | None:
    """The name under which the image exists."""
    return next((name for name in (image.name, *image.aliases) if (root / name).is_file()), None)


def _measure(
    images: Sequence[RawImage],
    root: Path,
    size_of: Callable[[Path], tuple[int, int]],
    certain: bool,
    skipped: _Skipped,
) -> list[RawImage]:
    """The images whose files are there, with the names and sizes of these."""
    measured = []
    for image in images:
        name = _find(root, image)
        if name is None:
            skipped.add("missing image", image)
            continue
        try:
            size = size_of(root / name)
        except OSError:
            skipped.add("unreadable image", image)
            continue
        if certain and size != image.size:
            skipped.add("image of another size", image)
            continue
        measured.append(replace(image, name=name, size=size))
    return measured


def _records(images: Sequence[RawImage], classes: int, multi_label: bool, skipped: _Skipped) -> list[Annotations]:
    """Records of the people that can be used; all boxes are checked at once, for speed."""
    counts = [len(image.boxes) for image in images]
    given = np.array([box for image in images for box in image.boxes], dtype=np.float64).reshape(-1, 4)
    sizes = [image.size or extent(image.boxes) for image in images]
    limits = np.repeat(np.array(sizes, dtype=np.float64).reshape(-1, 2), counts, axis=0)
    with np.errstate(over="ignore"):
        boxes = np.clip(given, 0, np.tile(limits, 2)).astype(np.float32)
    # Checked in both, because clipping turns infinity into the border and float32 turns 1e39 into infinity.
    finite = np.isfinite(given).all(axis=1) & np.isfinite(boxes).all(axis=1)
    usable = finite & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    labels = [chosen for image in images for chosen in image.labels]
    labelled = np.array([len(chosen) > 0 for chosen in labels], dtype=bool)
    kept = usable & labelled
    skipped.counts["degenerate box"] += int((~usable).sum())
    skipped.counts["person without labels"] += int((usable & ~labelled).sum())
    moved = np.zeros(len(given), dtype=bool)
    # Rounding in x + width is no reason to report a box.
    moved[kept] = (np.abs(boxes[kept] - given[kept]) > 0.01).any(axis=1)
    skipped.counts["box clipped"] += int(moved.sum())

    table = _label_table(labels, classes, multi_label)
    records = []
    end = 0
    for image, count, size in zip(images, counts, sizes, strict=True):
        start, end = end, end + count
        rows = np.flatnonzero(kept[start:end]) + start
        if not len(rows) and (count or image.left_out):
            skipped.add("image without usable person", image)
            continue
        records.append(Annotations(Path(image.name), boxes[rows], table[rows], size))
    return records


def _label_table(labels: Sequence[tuple[int, ...]], classes: int, multi_label: bool) -> NDArray[np.int64]:
    """(n,) class numbers, or (n, C) of 0 and 1."""
    if not multi_label:
        return np.array([chosen[0] if chosen else 0 for chosen in labels], dtype=np.int64)
    table = np.zeros((len(labels), classes), dtype=np.int64)
    rows = np.repeat(np.arange(len(labels)), [len(chosen) for chosen in labels])
    table[rows, [number for chosen in labels for number in chosen]] = 1
    return table
