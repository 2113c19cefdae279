"""Finds the image files that an annotation file names, and their sizes."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, scaled
from dsct.data.annotation_files.splits import split_of_folder
from dsct.data.image_io import turned_by_exif
from dsct.data.layouts.image_places import image_places

OTHER_CASE = "path in another case"
OTHER_BEGINNING = "path with another beginning"
TURNED = "image that EXIF turns, annotated as stored"
_PROBES = 50
_Listed: TypeAlias = dict[Path, dict[str, list[str]]]
_OUTSIDE = 1.0  # pixels by which a box may leave the image: annotation tools round


def image_folders(
    image_root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], raw: RawAnnotations
) -> list[Path]:
    """Where the images of a file may be: the folders given, or what people have below and around a single one."""
    if isinstance(image_root, (str, os.PathLike)):
        return image_places(Path(image_root), raw.path, raw.split)
    return [Path(folder) for folder in image_root]


def find_root(folders: Sequence[Path], images: Sequence[RawImage]) -> Path:
    """The folder that has most of a sample of the images, first of all under their own names."""
    probes = images[:: max(1, len(images) // _PROBES)]

    def found(root: Path) -> tuple[int, int]:
        missing = [image for image in probes if _named(root, image) is None]
        listed: _Listed = {}
        ends = [_in_other_case(root, image.name, listed) or _by_the_end(root, image) for image in missing]
        return len(probes) - len(missing), len(ends) - ends.count(None)

    return max(folders, key=found)


def measure(
    raw: RawAnnotations, root: Path, size_of: Callable[[Path], tuple[int, int]], changes: Changes
) -> list[RawImage]:
    """The images whose files are there, with the names and sizes of these.

    Args:
        raw: the content of the file.
        root: folder of the images.
        size_of: (width, height) of an image file; raises OSError if it cannot be read.
        changes: where lost and mended images are counted.
    """
    measured = []
    for image, name in zip(raw.images, _names(root, raw.images, changes), strict=True):
        if name is None:
            changes.lose("missing image", image.name)
            continue
        try:
            size = size_of(root / name)
            if name.endswith(".npy"):
                image = scaled(image, size)
            lost, mended = _compared(image, size, root / name, raw.certain_sizes)
        except OSError:
            changes.lose("unreadable image", image.name)
            continue
        if lost:
            changes.lose(lost, image.name)
            continue
        if mended:
            changes.mend(mended, image.name)
        measured.append(replace(image, name=name, size=size))
    return measured


def _named(root: Path, image: RawImage) -> str | None:
    """The name or other name under which the image exists; see `_by_the_end` for those that are the end of its path."""
    others = (name for name in image.aliases if not image.name.endswith(f"/{name}"))
    return next((name for name in (image.name, *others) if (root / name).is_file()), None)


def _by_the_end(root: Path, image: RawImage) -> str | None:
    """The longest end of the image's path that exists, as when the annotations come from another computer.

    Never in the folder of another split: the same names often occur in several.
    """
    parts = PurePosixPath(image.name).parts
    here = {split_of_folder(root.name), split_of_folder(root.parent.name)} - {None}
    for start in range(1, len(parts)):
        dropped = {split_of_folder(part) for part in parts[:start]} - {None}
        name = "/".join(parts[start:])
        if (not here or dropped <= here) and (root / name).is_file():
            return name
    return None


def _in_other_case(root: Path, name: str, listed: _Listed) -> str | None:
    """The file whose path differs only in upper and lower case, as on Windows, if there is exactly one.

    Args:
        root: folder of the images.
        name: the path that is sought.
        listed: of the folders that were looked into before, the names by their lower case.
    """
    found = ""
    for part in PurePosixPath(name).parts:
        folder = root / found
        if folder not in listed:
            listed[folder] = defaultdict(list)
            for path in folder.iterdir() if folder.is_dir() else ():
                listed[folder][path.name.lower()].append(path.name)
        same = listed[folder].get(part.lower(), [])
        if len(same) != 1:
            return None
        found = f"{found}/{same[0]}" if found else same[0]
    return found if (root / found).is_file() else None


def _names(root: Path, images: Sequence[RawImage], changes: Changes) -> list[str | None]:
    """The name of each image below the root; one found otherwise than named counts only if no other image has it."""
    names = [_named(root, image) for image in images]
    claims = defaultdict(set)
    guesses = {}
    listed: _Listed = {}
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        if name is None:
            other_case = _in_other_case(root, image.name, listed)
            guesses[number] = (OTHER_CASE, other_case) if other_case else (OTHER_BEGINNING, _by_the_end(root, image))
        elif name != image.name:
            other = PurePosixPath(name).name != PurePosixPath(image.name).name
            guesses[number] = ("image under another name" if other else "", name)
        claims[guesses[number][1] if number in guesses else name].add(image.name)
    for number, (reason, guess) in guesses.items():
        names[number] = guess if len(claims[guess]) == 1 else None
        if reason and names[number] is not None:
            changes.mend(reason, f"{images[number].name} is {guess}")
    return names


def _compared(image: RawImage, size: tuple[int, int], path: Path, certain: bool) -> tuple[str, str]:
    """Why the image does not belong to its annotations, and what was mended about it; mostly both empty.

    A photograph that EXIF turns by a quarter has its boxes on the image as it is stored or as it is shown; only boxes
    that fit one of both tell which.
    """
    if not certain or image.size is None or size == image.size:
        if not _holds(size, image) and _holds(size[::-1], image) and turned_by_exif(path):
            return TURNED, ""
        return "", "size read from the image file" if certain and image.size is None else ""
    if size != image.size[::-1] or not turned_by_exif(path):
        return "image of another size", ""
    if _holds(size, image) and not (image.people and _holds(image.size, image)):
        return "", "size of an image that EXIF turns"
    return TURNED, ""


def _holds(size: tuple[int, int], image: RawImage) -> bool:
    """Whether all boxes are inside an image of this size; those that are not finite do not say."""
    width, height = size
    return not any(
        width + _OUTSIDE < max(x1, x2) < math.inf or height + _OUTSIDE < max(y1, y2) < math.inf
        for x1, y1, x2, y2 in (person.box for person in image.people)
    )
