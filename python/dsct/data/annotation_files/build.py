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
from dsct.data.annotation_files.raw_annotations import RawAnnotations, RawImage, RawPerson, extent, scaled
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
    changes = _Changes()
    images = raw.images
    root = None
    source = raw.source
    if image_root is not None:
        root = _find_root(image_root, images)
        images = _measure(images, root, size_of, raw.certain_sizes, changes)
    elif not raw.certain_sizes:
        source += ", image sizes guessed"
    changes.lost.update(reason for image in images for reason in image.left_out)
    changes.mended.update(reason for image in images for reason in image.mended)
    records = _records(images, len(raw.class_names), raw.multi_label, changes)
    skipped, mended = _counted(changes.lost), _counted(changes.mended)
    if not records:
        where = "" if root is None else f" with images in {root}"
        raise ValueError(f"{raw.path}{where}: no image is left of {len(raw.images)}; {describe_skipped(skipped)}")
    return kind(
        records,
        split=raw.split,
        class_names=raw.class_names,
        multi_label=raw.multi_label,
        image_root=root,
        transforms=transforms,
        skipped=skipped,
        mended=mended,
        examples=changes.images,
        source=f"{raw.path.name}, {source}",
    )


@dataclass
class _Changes:
    """What was lost and what was mended: how often, and, for whole images that were lost, the first names."""

    lost: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    images: dict[str, list[str]] = field(default_factory=dict)

    def lose(self, reason: str, image: RawImage) -> None:
        self.lost[reason] += 1
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
    changes: _Changes,
) -> list[RawImage]:
    """The images whose files are there, with the names and sizes of these."""
    measured = []
    for image in images:
        name = _find(root, image)
        if name is None:
            changes.lose("missing image", image)
            continue
        try:
            size = size_of(root / name)
        except OSError:
            changes.lose("unreadable image", image)
            continue
        if name.endswith(".npy"):
            image = scaled(image, size)
        elif certain and size != image.size:
            changes.lose("image of another size", image)
            continue
        measured.append(replace(image, name=name, size=size))
    return measured


def _counted(changes: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(changes.items()) if count}


def _records(images: Sequence[RawImage], classes: int, multi_label: bool, changes: _Changes) -> list[Annotations]:
    """Records of the people that can be used; all boxes are checked at once, for speed."""
    counts = [len(image.people) for image in images]
    people = [person for image in images for person in image.people]
    given = np.array([person.box for person in people], dtype=np.float64).reshape(-1, 4)
    sizes = [image.size or extent(image.people) for image in images]
    limits = np.repeat(np.array(sizes, dtype=np.float64).reshape(-1, 2), counts, axis=0)
    with np.errstate(over="ignore"):
        boxes = np.clip(given, 0, np.tile(limits, 2)).astype(np.float32)
    # Checked in both, because clipping turns infinity into the border and float32 turns 1e39 into infinity.
    finite = np.isfinite(given).all(axis=1) & np.isfinite(boxes).all(axis=1)
    usable = finite & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    labelled = np.array([len(person.labels) > 0 for person in people], dtype=bool)
    kept = usable & labelled
    changes.lost["degenerate box"] += int((~usable).sum())
    changes.lost["person without labels"] += int((usable & ~labelled).sum())
    moved = np.zeros(len(given), dtype=bool)
    # Rounding in x + width is no reason to report a box.
    moved[kept] = (np.abs(boxes[kept] - given[kept]) > 0.01).any(axis=1)
    changes.mended["box clipped"] += int(moved.sum())

    table = _label_table([person.labels for person in people], classes, multi_label)
    records = []
    end = 0
    for image, count, size in zip(images, counts, sizes, strict=True):
        start, end = end, end + count
        rows = np.flatnonzero(kept[start:end]) + start
        if not len(rows) and (count or image.left_out):
            changes.lose("image without usable person", image)
            continue
        chosen = [people[row] for row in rows]
        records.append(
            Annotations(Path(image.name), boxes[rows], table[rows], size, _continuous(chosen), _attributes(chosen))
        )
    return records


def _continuous(people: Sequence[RawPerson]) -> NDArray[np.float32] | None:
    """(n, 3), with NaN for a person for whom the file states nothing; ``None`` if it states nothing for anyone."""
    if all(person.continuous is None for person in people):
        return None
    unknown = (np.nan, np.nan, np.nan)
    return np.array([person.continuous or unknown for person in people], dtype=np.float32)


def _attributes(people: Sequence[RawPerson]) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for person in people for name in person.attributes)
    return {name: tuple(person.attributes.get(name, "") for person in people) for name in names}


def _label_table(labels: Sequence[tuple[int, ...]], classes: int, multi_label: bool) -> NDArray[np.int64]:
    """(n,) class numbers, or (n, C) of 0 and 1."""
    if not multi_label:
        return np.array([chosen[0] if chosen else 0 for chosen in labels], dtype=np.int64)
    table = np.zeros((len(labels), classes), dtype=np.int64)
    rows = np.repeat(np.arange(len(labels)), [len(chosen) for chosen in labels])
    table[rows, [number for chosen in labels for number in chosen]] = 1
    return table
