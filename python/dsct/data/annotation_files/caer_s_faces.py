"""The annotations of CAER-S as text or as JSON, and the split that is taken from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dsct.config import CAER_S_CLASSES
from dsct.data.annotation_files.coco_json import Entry, category_id, load_coco_json, raw_images
from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, RawPerson, extent
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_files.unusable import UNKNOWN_CATEGORY, Unusable, require_any

MALFORMED_LINE = "malformed line"
FRAME_SIZE = (712, 400)
"""Usual (width, height) of a frame, used if there is no image file."""

_FOLDERS = {**{name: name for name in CAER_S_CLASSES}, "Angry": "Anger"}
_OTHER_FOLDER = {"Anger": "Angry", "Angry": "Anger"}


def faces_of(raw: RawAnnotations, split: str | None, val_fraction: float, seed: int) -> RawAnnotations:
    """The images of one split; training and validation are taken from the same file.

    Args:
        raw: a whole file.
        split: ``"train"``, ``"val"`` or ``"test"``; taken from the file name when ``None``.
        val_fraction: share of the training data that is for validation; 0 uses all of it for training.
        seed: for this choice.

    Raises:
        ValueError: the split is not in this file, or `val_fraction` is out of range.
    """
    holds = raw.split
    split = split or holds
    if holds in ("train", "val", "test") and split != holds and (holds, split) != ("train", "val"):
        raise ValueError(f"split must be in the file, {raw.path} holds {holds!r}, got {split!r}")
    if holds in ("val", "test") or split not in ("train", "val"):
        val_fraction = 0
    elif split == "val" and val_fraction == 0:
        raise ValueError(f"val_fraction must be between 0 and 1, got {val_fraction}")
    part = raw.part(split, val_fraction, seed, key=_key)
    folder = "test" if split == "test" else "train"
    return replace(
        part, images=[replace(image, aliases=(*image.aliases, *_aliases(image.name, folder))) for image in part.images]
    )


def read_caer_s_json(path: Path) -> RawAnnotations:
    """The images of a ``caer_{train,val,test}.json``.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed, or a class contradicts the folder.
    """
    images, changes = raw_images(path, load_coco_json(path), _label)
    for image in images:
        for person in image.people:
            try:
                _check_folder(image.name, *person.labels)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return replace(_annotations(path, images, certain_sizes=True), changes=changes)


def read_caer_s_text(path: Path) -> RawAnnotations:
    """The images of a ``train.txt`` or ``test.txt``; their sizes are a guess.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a class contradicts the folder, or no line can be used.
    """
    images: dict[str, RawImage] = {}
    changes = Changes()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        new = RawImage(line.partition(",")[0].strip())
        if not new.name:
            changes.lose(MALFORMED_LINE, f"line {number}: the path must not be empty")
            continue
        image = images.setdefault(new.name, new)
        try:
            image.people.append(_person(line))
        except Unusable as error:
            image.leave_out(error.reason, f"line {number}: {error}")
            continue
        try:
            _check_folder(image.name, *image.people[-1].labels)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    require_any(path, images.values(), changes, "line")
    for image in images.values():
        image.size = extent(image.people, FRAME_SIZE)
    return replace(_annotations(path, list(images.values()), certain_sizes=False), changes=changes)


def _person(line: str) -> RawPerson:
    try:
        _, label, *box = (cell.strip() for cell in line.split(","))
        x1, y1, x2, y2 = map(float, box)
        number = int(label)
    except ValueError as error:
        raise Unusable(MALFORMED_LINE, f"a line must be path,class number,x1,y1,x2,y2, got {line!r}") from error
    return RawPerson((x1, y1, x2, y2), (_class_number(number),))


def _annotations(path: Path, images: list[RawImage], certain_sizes: bool) -> RawAnnotations:
    return RawAnnotations(path, split_from_name(path), images, CAER_S_CLASSES, False, "face boxes", certain_sizes)


def _label(entry: Entry) -> tuple[int, ...]:
    return (_class_number(category_id(entry)),)


def _class_number(number: int) -> int:
    if not 0 <= number < len(CAER_S_CLASSES):
        raise Unusable(UNKNOWN_CATEGORY, f"the class must be in 0..{len(CAER_S_CLASSES) - 1}, got {number}")
    return number


def _check_folder(name: str, label: int) -> None:
    """The class folder, if the image is in one, must agree with the label."""
    folder = _class_folder(name)
    said = _FOLDERS.get(folder)
    if said is not None and said != CAER_S_CLASSES[label]:
        raise ValueError(f"the class of {name} is {label} ({CAER_S_CLASSES[label]}), but its folder says {folder}")


def _class_folder(name: str) -> str:
    """The folder directly around the image. Plain text, because paths take seconds for all of CAER-S."""
    return name.rpartition("/")[0].rpartition("/")[2]


def _key(name: str) -> str:
    """Class and file name: the same in both forms of annotations and for both names of the first class."""
    folder = _class_folder(name)
    return f"{_FOLDERS.get(folder, folder)}/{name.rpartition('/')[2]}"


def _aliases(name: str, split_folder: str) -> tuple[str, ...]:
    """The other names: with or without the folder of the split, with ``Anger`` or with ``Angry``."""
    first, _, rest = name.partition("/")
    names = [name, rest if first in ("train", "test") else f"{split_folder}/{name}"]
    folder = _class_folder(name)
    if folder in _OTHER_FOLDER:
        end = f"{folder}/{name.rpartition('/')[2]}"
        names += [one.removesuffix(end) + end.replace(folder, _OTHER_FOLDER[folder], 1) for one in names]
    return tuple(names[1:])
