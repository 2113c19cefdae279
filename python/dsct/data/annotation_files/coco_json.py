"""The part of the COCO annotation format that all its users share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.raw_annotations import RawImage, RawPerson

Entry = dict[str, Any]


def load_coco_json(path: Path) -> Entry:
    """The content of a COCO file, whose ``images`` and ``annotations`` are lists of objects.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, or has another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a COCO file must hold one object, got {type(content).__name__}")
    for key in ("images", "annotations"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}: {key} must be a list of objects")
    return content


def raw_images(path: Path, content: Entry, labels_of: Callable[[Entry], tuple[int, ...]]) -> list[RawImage]:
    """Images and people of a COCO file; crowds are left out and counted.

    Args:
        path: of the file, for messages.
        content: from :func:`load_coco_json`.
        labels_of: class numbers of an annotation; the names of file and annotation are added to its ValueError.

    Returns:
        Every image, also those without people; the file states their sizes.

    Raises:
        ValueError: a key is missing or has another type, or an annotation belongs to no image.
    """
    images: dict[int | str, RawImage] = {}
    for number, entry in enumerate(content["images"]):
        try:
            image_id, image = _image(entry)
            if image_id in images:
                raise ValueError("id occurs twice")
        except ValueError as error:
            raise ValueError(f"{path}: {_place('images', number, entry)}: {error}") from error
        images[image_id] = image
    for number, entry in enumerate(content["annotations"]):
        try:
            image = images[_id(entry, "image_id")]
            if entry.get("iscrowd"):
                image.left_out.append("crowd")
                continue
            known = continuous_of(entry), attributes_of(entry)
            image.people.append(RawPerson(_box(entry), labels_of(entry), *known))
        except KeyError as error:
            place = _place("annotations", number, entry)
            raise ValueError(f"{path}: {place}: no image has the image_id {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {_place('annotations', number, entry)}: {error}") from error
    return list(images.values())


def category_id(entry: Entry) -> int:
    """The ``category_id`` of an annotation.

    Raises:
        ValueError: it is missing or not an integer.
    """
    value = entry.get("category_id")
    if type(value) is not int:
        raise ValueError(f"category_id must be an integer, got {value!r}")
    return value


def continuous_of(entry: Entry) -> tuple[float, float, float] | None:
    """Valence, arousal and dominance, ``null`` where unknown, from ``continuous`` of an annotation.

    Raises:
        ValueError: they are not three numbers.
    """
    given = entry.get("continuous")
    if given is None:
        return None
    if (
        not isinstance(given, list)
        or len(given) != 3
        or not all(value is None or type(value) in (int, float) for value in given)
    ):
        raise ValueError(f"continuous must be 3 numbers: valence, arousal, dominance; got {given!r}")
    valence, arousal, dominance = (math.nan if value is None else float(value) for value in given)
    return valence, arousal, dominance


def attributes_of(entry: Entry) -> dict[str, str]:
    """What ``person`` of an annotation says: names and texts.

    Raises:
        ValueError: it says something else.
    """
    given = entry.get("person") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError(f"person must be an object of texts, got {given!r}")
    return {name: value for name, value in given.items() if value}


def _place(key: str, number: int, entry: Entry) -> str:
    return f"{key}[{number}] (id {entry.get('id', 'missing')!r})"


def _id(entry: Entry, key: str) -> int | str:
    value = entry.get(key)
    if not isinstance(value, (int, str)):
        raise ValueError(f"{key} must be a number or text, got {value!r}")
    return value


def _image(entry: Entry) -> tuple[int | str, RawImage]:
    name, width, height = entry.get("file_name"), entry.get("width"), entry.get("height")
    if not isinstance(name, str) or not name:
        raise ValueError(f"file_name must be text, got {name!r}")
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        raise ValueError(f"width and height must be positive integers, got {width!r} and {height!r}")
    return _id(entry, "id"), RawImage(name, (width, height))


def _box(entry: Entry) -> tuple[float, float, float, float]:
    """From x, y, width, height to corners."""
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise ValueError(f"bbox must be 4 numbers x, y, width, height, got {box!r}")
    try:
        x, y, width, height = map(float, box)
    except OverflowError as error:
        raise ValueError(f"bbox must fit into a float: {error}") from error
    return x, y, x + width, y + height
