"""From the content of an annotation file to records: image sizes, missing files, boxes that cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dsct.data.annotated import AnnotatedDataset, describe_skipped
from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, RawPerson, extent
from dsct.data.annotation_files.splits import split_of_folder
from dsct.data.image_io import upright_size
from dsct.data.layouts.image_search import find_root, image_folders, measure
from dsct.data.records import Annotations
from dsct.data.transforms import Transform

ImageRoot: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""Folder of the images, or several, of which the one with most of them is used."""

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
    kept.

    Mended and counted: boxes that leave the image are clipped to it; a size that the file should state and does not is
    read from the image, or guessed from the boxes if no image is opened; an image whose path begins otherwise is found
    under the end of its path.

    Args:
        kind: the class of the result.
        raw: the content of the file.
        image_root: where the images are; of a single folder also the usual places in it and beside the annotation
            file. ``None`` opens no image file.
        transforms: of the data set.
        size_of: (width, height) of an image file; raises OSError if it cannot be read.

    Returns:
        A data set of class `kind`.

    Raises:
        ValueError: no image is left, or the boxes are fractions of the image instead of pixels.
    """
    _check_pixels(raw)
    changes = Changes(raw.changes.lost.copy(), raw.changes.mended.copy(), deepcopy(raw.changes.examples))
    images = raw.images
    root = None
    folders: list[Path] = []
    source = raw.source
    if image_root is not None:
        folders = image_folders(image_root, raw)
        root = find_root(folders, images)
        images = measure(raw, root, size_of, changes)
    elif not raw.certain_sizes:
        source += ", image sizes guessed"
    else:
        for image in images:
            if image.size is None:
                changes.mend("size guessed from the boxes", image.name)
    for image in images:
        changes.lost.update(image.left_out)
        changes.mended.update(image.mended)
        for reason, example in image.examples:
            changes.show(reason, example)
    images = _each_once(images, changes)
    records = _records(images, len(raw.class_names), raw.multi_label, changes)
    skipped, mended = _counted(changes.lost), _counted(changes.mended)
    if not records:
        raise ValueError(_nothing_left(raw, skipped, changes, root, folders))
    return kind(
        records,
        split=raw.split,
        class_names=raw.class_names,
        multi_label=raw.multi_label,
        image_root=root,
        transforms=transforms,
        skipped=skipped,
        mended=mended,
        examples={reason: names for reason, names in changes.examples.items() if reason in skipped or reason in mended},
        source=f"{_place(raw.path)}, {source}",
    )


def _each_once(images: Sequence[RawImage], changes: Changes) -> list[RawImage]:
    """The images; one that is listed several times has the people of all its entries, who would be nobody in others."""
    first: dict[str, RawImage] = {}
    for image in images:
        known = first.setdefault(image.name, image)
        if known is not image:
            changes.mend("image listed twice", image.name)
            more = [person for person in image.people if person not in known.people]
            left_out = [*known.left_out, *image.left_out]
            first[image.name] = replace(known, people=[*known.people, *more], left_out=left_out)
    return list(first.values())


def _place(path: Path) -> str:
    """The file, with the folder of its split if it is in one, where the file of every split may have one name."""
    return "/".join(path.parts[-2:]) if split_of_folder(path.parent.name) else path.name


def _check_pixels(raw: RawAnnotations) -> None:
    """Fractions of the image would be boxes smaller than a pixel, of which training would silently drop every one."""
    people = [person for image in raw.images for person in image.people]
    boxes = np.array([person.box for person in people], dtype=np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    sides = np.abs(boxes[:, 2:] - boxes[:, :2])
    # The limits allow for rounding, and for centres that are taken for corners.
    if sides.any() and sides.max() <= 1.01 and np.abs(boxes).max() <= 2.01:
        name = next(image.name for image in raw.images if image.people)
        got = ", ".join(f"{value:.4g}" for value in people[0].box)
        raise ValueError(
            f"{raw.path}: all boxes are smaller than a pixel: they must be in pixels, not fractions of the image; the "
            f"first, in {name}, is x1 y1 x2 y2 = {got}"
        )


def _nothing_left(
    raw: RawAnnotations, skipped: dict[str, int], changes: Changes, root: Path | None, folders: Sequence[Path]
) -> str:
    """Why there is no record, with the first image that is missing and where it was sought."""
    where = f" with images in {root}" if root else ""
    if not raw.images and not skipped:
        nothing = {".csv": "a header and no rows", ".txt": "no lines"}.get(raw.path.suffix.lower(), "no images")
        return f"{raw.path}: the file must hold images and the people in them, got {nothing}"
    sentence = f"{raw.path}{where}: no image is left of {len(raw.images)}; {describe_skipped(skipped)}"
    for reason in skipped:
        if reason == "missing image":
            sought = ", ".join(map(str, folders))
            sentence += f"; the first missing image, {changes.examples[reason][0]}, was sought in {sought}"
        elif names := changes.examples.get(reason):
            sentence += f"; {reason}: {names[0]}"
    return sentence


def _counted(changes: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(changes.items()) if count}


def _records(images: Sequence[RawImage], classes: int, multi_label: bool, changes: Changes) -> list[Annotations]:
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
    owners = np.repeat(np.arange(len(images)), counts)
    for reason, lost in (("degenerate box", ~usable), ("person without labels", usable & ~labelled)):
        for row in np.flatnonzero(lost):
            corners = " ".join(f"{value:g}" for value in people[row].box)
            changes.lose(reason, f"{images[owners[row]].name}: {corners}")
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
            changes.lose("image without usable person", image.name)
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
