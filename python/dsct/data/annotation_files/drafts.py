"""From what an annotation file says to records: image sizes, missing files, boxes without area or beyond the image."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dsct.data.annotated import AnnotatedDataset, in_words
from dsct.data.records import Annotations
from dsct.data.transforms import Transform
from dsct.image_io import upright_size

ImageRoot: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""Folder of the images, or several of which the one that has most of them is taken."""

_PROBES = 50
_MOST_EXAMPLES = 5
_Data = TypeVar("_Data", bound=AnnotatedDataset)


@dataclass
class Draft:
    """One image as an annotation file describes it, not yet checked.

    Attributes:
        name: path of the image relative to the image root.
        size: (width, height), if the file knows.
        boxes: ``x1 y1 x2 y2`` in pixels, one per person.
        labels: class numbers of each person; none at all for a person that nobody labelled.
        left_out: why the reader left people out, one reason per person.
        mended: what the reader put right about the image, to be counted.
        aliases: other paths under which the image may be found.
    """

    name: str
    size: tuple[int, int] | None = None
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[tuple[int, ...]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    mended: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass
class DraftFile:
    """An annotation file as a whole.

    Attributes:
        path: of the file.
        images: in the order of the file.
        certain_sizes: boxes refer to ``Draft.size``, so that an image file of another size does not belong to them;
            otherwise the size is a guess, for want of the image file.
    """

    path: Path
    images: list[Draft]
    certain_sizes: bool


def build(
    kind: type[_Data],
    file: DraftFile,
    *,
    split: str,
    class_names: Sequence[str],
    multi_label: bool,
    image_root: ImageRoot | None,
    transforms: Transform | None,
    source: str,
) -> _Data:
    """The data set of an annotation file.

    Left out and counted: missing and unreadable images and images of another size than annotated (with an image root),
    boxes that are not finite or have no area inside the image, people without labels, and images in which every
    annotated person was left out, for they would teach that nobody is there. Images that never had a person are kept.
    Boxes that leave the image are cut at its border and counted.

    Args:
        kind: the class to make.
        file: what was read.
        split: name of the split.
        class_names: C names.
        multi_label: labels become (n, C) of 0 and 1.
        image_root: where the images are; ``None`` touches no image file.
        transforms: of the data set.
        source: what to say about the file beside its name.

    Returns:
        A data set of class `kind`.

    Raises:
        ValueError: nothing is left.
    """
    skipped = _Skipped()
    drafts = file.images
    root = None
    if image_root is not None:
        root = _find_root(image_root, drafts)
        drafts = _measure(drafts, root, file.certain_sizes, skipped)
    elif not file.certain_sizes:
        source += ", image sizes guessed"
    skipped.counts.update(reason for draft in drafts for reason in (*draft.left_out, *draft.mended))
    records = _records(drafts, len(class_names), multi_label, skipped)
    counts = {reason: count for reason, count in sorted(skipped.counts.items()) if count}
    if not records:
        where = "" if root is None else f" with images in {root}"
        raise ValueError(f"{file.path}{where}: no image is left of {len(file.images)}; {in_words(counts)}")
    return kind(
        records,
        split=split,
        class_names=class_names,
        multi_label=multi_label,
        image_root=root,
        transforms=transforms,
        skipped=counts,
        examples=skipped.images,
        source=f"{file.path.name}, {source}",
    )


@dataclass
class _Skipped:
    """What was left out or changed: how often, and for whole images the first names."""

    counts: Counter[str] = field(default_factory=Counter)
    images: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, draft: Draft) -> None:
        self.counts[reason] += 1
        names = self.images.setdefault(reason, [])
        if len(names) < _MOST_EXAMPLES:
            names.append(draft.name)


def _find_root(image_root: ImageRoot, drafts: Sequence[Draft]) -> Path:
    """The folder that has most of some images from all over the file."""
    if isinstance(image_root, (str, os.PathLike)):
        return Path(image_root)
    probes = drafts[:: max(1, len(drafts) // _PROBES)]
    return max(map(Path, image_root), key=lambda root: sum(_find(root, draft) is not None for draft in probes))


def _find(root: Path, draft: Draft) -> str | None:
    """The name under which the image is there."""
    return next((name for name in (draft.name, *draft.aliases) if (root / name).is_file()), None)


def _measure(drafts: Sequence[Draft], root: Path, certain: bool, skipped: _Skipped) -> list[Draft]:
    """The drafts whose images are there, with the names and sizes of these."""
    measured = []
    for draft in drafts:
        name = _find(root, draft)
        if name is None:
            skipped.add("missing image", draft)
            continue
        try:
            size = upright_size(root / name)
        except OSError:
            skipped.add("unreadable image", draft)
            continue
        if certain and size != draft.size:
            skipped.add("image of another size", draft)
            continue
        measured.append(replace(draft, name=name, size=size))
    return measured


def _records(drafts: Sequence[Draft], classes: int, multi_label: bool, skipped: _Skipped) -> list[Annotations]:
    """Records of the people that can be used; all boxes are judged at once, for speed."""
    counts = [len(draft.boxes) for draft in drafts]
    given = np.array([box for draft in drafts for box in draft.boxes], dtype=np.float64).reshape(-1, 4)
    sizes = [draft.size or extent(draft.boxes) for draft in drafts]
    limits = np.repeat(np.array(sizes, dtype=np.float64).reshape(-1, 2), counts, axis=0)
    with np.errstate(over="ignore"):
        boxes = np.clip(given, 0, np.tile(limits, 2)).astype(np.float32)
    # Looked for in both, because clipping turns infinity into the border and float32 turns 1e39 into infinity.
    finite = np.isfinite(given).all(axis=1) & np.isfinite(boxes).all(axis=1)
    usable = finite & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    labels = [chosen for draft in drafts for chosen in draft.labels]
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
    for draft, count, size in zip(drafts, counts, sizes, strict=True):
        start, end = end, end + count
        rows = np.flatnonzero(kept[start:end]) + start
        if not len(rows) and (count or draft.left_out):
            skipped.add("image without usable person", draft)
            continue
        records.append(Annotations(Path(draft.name), boxes[rows], table[rows], size))
    return records


def extent(boxes: Sequence[tuple[float, float, float, float]], at_least: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """The smallest (width, height) that holds some boxes: a guess, for want of anything better.

    Example:
        >>> extent([(10, 20, 50, 80), (0, 0, 70.5, 10)])
        (71, 80)
    """
    width, height = at_least
    for _, _, x2, y2 in boxes:
        if math.isfinite(x2) and math.isfinite(y2):
            width, height = max(width, math.ceil(x2)), max(height, math.ceil(y2))
    return width, height


def _label_table(labels: Sequence[tuple[int, ...]], classes: int, multi_label: bool) -> NDArray[np.int64]:
    """(n,) class numbers, or (n, C) of 0 and 1."""
    if not multi_label:
        return np.array([chosen[0] if chosen else 0 for chosen in labels], dtype=np.int64)
    table = np.zeros((len(labels), classes), dtype=np.int64)
    rows = np.repeat(np.arange(len(labels)), [len(chosen) for chosen in labels])
    table[rows, [number for chosen in labels for number in chosen]] = 1
    return table
