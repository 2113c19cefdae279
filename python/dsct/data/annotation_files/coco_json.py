"""The part of the COCO annotation format that all its users share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.raw_annotations import Box, Changes, RawImage, RawPerson
from dsct.data.annotation_files.unusable import UNKNOWN_CATEGORY, Unusable
from dsct.json_text import read_json

Entry = dict[str, Any]
_MOST = 1e9  # what exceeds it is no side of an image and no angle


def load_coco_json(path: Path) -> Entry:
    """The content of a COCO file, whose ``images`` and ``annotations`` are lists of objects.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, or has another form.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a COCO file must hold one object, got {type(content).__name__}")
    for key in ("images", "annotations"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}: {key} must be a list of objects")
    return content


def raw_images(
    path: Path,
    content: Entry,
    labels_of: Callable[[Entry], tuple[int, ...]],
    attributes_of: Callable[[Entry], Mapping[str, str]] = lambda entry: {},
) -> tuple[list[RawImage], Changes]:
    """Images and people of a COCO file; crowds and single entries that cannot be used are left out and counted.

    Args:
        path: of the file, for messages.
        content: from :func:`load_coco_json`.
        labels_of: class numbers of an annotation; the names of file and annotation are added to its ValueError, which
            refuses the file unless it is `Unusable`.
        attributes_of: what else the file says about a person.

    Returns:
        Every image, also those without people, with the size that the file states; and what belongs to no image.

    Raises:
        ValueError: two images have one id, `labels_of` refuses the file, or nothing in it can be used.
    """
    changes = Changes()
    images = _images(path, content["images"], changes)
    by_text = {str(image_id): image for image_id, image in images.items()}
    kept, lost = 0, ""
    for number, entry in enumerate(content["annotations"]):
        image, place = None, functools.partial(_place, "annotations", number, entry)
        try:
            image = _image_of(entry, images, by_text, place)
            if entry.get("iscrowd"):
                image.leave_out("crowd", place())
                continue
            box = _box(entry, image, place)
            attributes = {**attributes_of(entry), **_known_attributes(entry)}
            image.people.append(RawPerson(box, labels_of(entry), _continuous(entry), attributes))
            kept += 1
        except Unusable as error:
            example = f"{place()}: {error}"
            lost = lost or example
            (image.leave_out if image is not None else changes.lose)(error.reason, example)
        except ValueError as error:
            raise ValueError(f"{path}: {place()}: {error}") from error
    if lost and not kept:
        raise ValueError(f"{path}: no annotation can be used, the first: {lost}")
    return list(images.values()), changes


def category_id(entry: Entry) -> int:
    """The ``category_id`` of an annotation.

    Raises:
        Unusable: it is missing or not an integer.
    """
    value = whole_number(entry.get("category_id"))
    if value is None:
        raise Unusable(UNKNOWN_CATEGORY, f"category_id must be an integer, got {entry.get('category_id')!r}")
    return value


def whole_number(value: Any) -> int | None:
    """An integer, also one that is written as a float; ``None`` for anything else.

    Example:
        >>> whole_number(160.0), whole_number(160.5), whole_number("160"), whole_number(True)
        (160, None, None, None)
    """
    if type(value) is float and math.isfinite(value) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _continuous(entry: Entry) -> tuple[float, float, float] | None:
    """Valence, arousal and dominance, ``null`` where unknown."""
    given = entry.get("continuous")
    if given is None:
        return None
    numbers = given if isinstance(given, list) else []
    if len(numbers) != 3 or not all(value is None or type(value) in (int, float) for value in numbers):
        sentence = f"continuous must be 3 numbers: valence, arousal, dominance; got {given!r}"
        raise Unusable("malformed continuous annotation", sentence)
    valence, arousal, dominance = (math.nan if value is None else float(value) for value in numbers)
    return valence, arousal, dominance


def _known_attributes(entry: Entry) -> dict[str, str]:
    """What ``person`` says, names and texts, as ``dsct data convert`` writes it."""
    given = entry.get("person") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Unusable("malformed attributes of a person", f"person must be an object of texts, got {given!r}")
    return {name: value for name, value in given.items() if value}


def _place(key: str, number: int, entry: Entry) -> str:
    return f"{key}[{number}] (id {entry.get('id', 'missing')!r})"


def _id(value: Any) -> int | str | None:
    return value if isinstance(value, str) else whole_number(value)


def _images(path: Path, entries: list[Entry], changes: Changes) -> dict[int | str, RawImage]:
    images: dict[int | str, RawImage] = {}
    for number, entry in enumerate(entries):
        place = _place("images", number, entry)
        name, image_id = entry.get("file_name"), _id(entry.get("id"))
        if not isinstance(name, str) or not name.strip():
            changes.lose("image without a name", f"{place}: file_name must be text, got {name!r}")
        elif image_id is None:
            changes.lose("image without an id", f"{place}: id must be a number or text, got {entry.get('id')!r}")
        elif image_id not in images:
            images[image_id] = RawImage(name, _size(entry))
        elif RawImage(name).name != images[image_id].name:
            raise ValueError(f"{path}: {place}: id occurs twice, for {images[image_id].name} and {name}")
        else:
            changes.mend("image listed twice", place)
    if entries and not images:
        raise ValueError(f"{path}: no image can be used, the first: {next(iter(changes.examples.values()))[0]}")
    return images


def _image_of(
    entry: Entry, images: Mapping[int | str, RawImage], by_text: Mapping[str, RawImage], place: Callable[[], str]
) -> RawImage:
    """The image of an annotation; 1 and "1" mean the same unless there are both."""
    image_id = _id(entry.get("image_id"))
    if image_id is not None and image_id in images:
        return images[image_id]
    image = None if image_id is None else by_text.get(str(image_id))
    if image is None:
        got = entry.get("image_id")
        raise Unusable("annotation of an unknown image", f"no image has the image_id {got!r}")
    image.mend("image_id as text or number", place())
    return image


def _size(entry: Entry) -> tuple[int, int] | None:
    """(width, height), if the file states them."""
    width, height = whole_number(entry.get("width")), whole_number(entry.get("height"))
    if width is None or height is None or not 0 < min(width, height) <= max(width, height) < _MOST:
        return None
    return width, height


def _box(entry: Entry, image: RawImage, place: Callable[[], str]) -> Box:
    """From x, y, width, height to corners; of a box that CVAT turned, those of the upright rectangle around it."""
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise Unusable("malformed box", f"bbox must be 4 numbers x, y, width, height, got {box!r}")
    try:
        x, y, width, height = map(float, box)
    except OverflowError as error:
        raise Unusable("malformed box", f"bbox must fit into a float: {error}") from error
    attributes = entry.get("attributes")
    angle = attributes.get("rotation", 0) if isinstance(attributes, dict) else 0
    if not isinstance(angle, (int, float)) or not abs(angle) < _MOST or angle % 360 == 0:
        return x, y, x + width, y + height
    image.mend("turned box", place())
    return upright_around(x, y, width, height, angle)


def upright_around(x: float, y: float, width: float, height: float, angle: float) -> Box:
    """Corners of the upright rectangle around a box that is turned about its centre by an angle in degrees.

    Example:
        >>> [round(value, 6) for value in upright_around(200, 100, 200, 100, 90)]
        [250.0, 50.0, 350.0, 250.0]
    """
    sine, cosine = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    half_width = (width * cosine + height * sine) / 2
    half_height = (width * sine + height * cosine) / 2
    centre_x, centre_y = x + width / 2, y + height / 2
    return centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height
