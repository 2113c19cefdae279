"""EMOTIC's CSV beside images in ``.npy`` arrays: a column per class, a row per person.

Most public code reads ``annots_arrs/annot_arrs_{split}.csv`` with ``img_arrs/*.npy``. Boxes are in pixels of the
original image, whose size the row states; the array may be a smaller copy of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from dsct.config import EMOTIC_CLASSES
from dsct.data.annotation_files.csv_table import read_table
from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, RawPerson
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_files.unusable import MALFORMED_ROW, ragged, require_any

CONTINUOUS = ("valence", "arousal", "dominance")
ATTRIBUTES = ("gender", "age")
HEADER = frozenset({"Filename", "X_min", EMOTIC_CLASSES[0]})
"""Columns by which the file is told from others."""

_ARRAY = "Arr_name"
_CORNERS = ("X_min", "Y_min", "X_max", "Y_max")
_SIZE = ("Width", "Height")
_FOLDERS = ("mscoco/images", "emodb_small/images", "ade20k/images", "framesdb/images", "images")


def read_emotic_arrays(path: Path) -> RawAnnotations:
    """The images in the order of their first rows, under the names of their arrays or else of the original files.

    Rows that cannot be used are left out.

    Args:
        path: the file, with the columns ``Filename, Width, Height, X_min, Y_min, X_max, Y_max`` and the 26 classes;
            ``Arr_name, Valence, Arousal, Dominance, Gender, Age`` are read if they are there.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or no row can be used; the message names file and line.
    """
    images: dict[tuple[str, ...], RawImage] = {}
    changes = Changes()
    for line, row in read_table(path, ("Filename", *_SIZE, *_CORNERS, *EMOTIC_CLASSES), ragged(changes)):
        image = None
        try:
            image = images.setdefault(*_image(row))
            image.people.append(_person(row))
        except ValueError as error:
            leave_out = changes.lose if image is None else image.leave_out
            leave_out(MALFORMED_ROW, f"line {line}: {error}")
    require_any(path, images.values(), changes, "row")
    found = [_right_way_round(image) for image in images.values()]
    source, split = "body boxes, labels of the columns", split_from_name(path)
    return RawAnnotations(path, split, found, EMOTIC_CLASSES, True, source, changes=changes)


def person_attributes(row: Mapping[str, str]) -> dict[str, str]:
    """Gender and age from the columns of these names, where they say something.

    Example:
        >>> person_attributes({"Gender": "Female", "Age": ""})
        {'gender': 'Female'}
    """
    return {name: row[name.capitalize()] for name in ATTRIBUTES if row.get(name.capitalize())}


def _image(row: Mapping[str, str]) -> tuple[tuple[str, ...], RawImage]:
    """What tells the image of a row from others, and the image without people."""
    array, filename = row.get(_ARRAY, ""), row["Filename"]
    if not array and not filename:
        raise ValueError(f"Filename or {_ARRAY} must not be empty")
    width, height = (_number(row, name) for name in _SIZE)
    if not (1 <= width < math.inf and 1 <= height < math.inf):
        raise ValueError(f"Width and Height must be positive, got {width:g} and {height:g}")
    folder = row.get("Folder", "").replace("\\", "/").rstrip("/")
    originals = [f"{one}/{filename}" for one in ((folder,) if folder else _FOLDERS)]
    names = [array, f"img_arrs/{array}"] if array else []
    names += [*originals, filename] if filename else []
    key = (folder, filename, f"{width:g}", f"{height:g}") if filename else (array,)
    return key, RawImage(names[0], (int(width), int(height)), aliases=tuple(names[1:]))


def _person(row: Mapping[str, str]) -> RawPerson:
    x1, y1, x2, y2 = (_number(row, name) for name in _CORNERS)
    labels = tuple(n for n, name in enumerate(EMOTIC_CLASSES) if _is_set(row, name))
    return RawPerson((x1, y1, x2, y2), labels, _continuous(row), person_attributes(row))


def _right_way_round(image: RawImage) -> RawImage:
    """Swaps width and height where the boxes fit into the image only then, as in some files of EMOTIC."""
    assert image.size is not None
    width, height = image.size
    if _fit(image.people, width, height) or not _fit(image.people, height, width):
        return image
    image.size, image.mended = (height, width), ("width and height swapped",)
    return image


def _fit(people: Iterable[RawPerson], width: int, height: int) -> bool:
    return not any(width < person.box[2] < math.inf or height < person.box[3] < math.inf for person in people)


def _number(row: Mapping[str, str], name: str) -> float:
    try:
        return float(row[name])
    except ValueError as error:
        raise ValueError(f"{name} must be a number, got {row[name]!r}") from error


def _is_set(row: Mapping[str, str], name: str) -> bool:
    if not row[name]:
        return False
    if (value := _number(row, name)) not in (0, 1):
        raise ValueError(f"{name} must be 0 or 1, got {row[name]!r}")
    return value == 1


def _continuous(row: Mapping[str, str]) -> tuple[float, float, float] | None:
    names = [name.capitalize() for name in CONTINUOUS]
    valence, arousal, dominance = (_number(row, name) if row.get(name) else math.nan for name in names)
    known = not all(map(math.isnan, (valence, arousal, dominance)))
    return (valence, arousal, dominance) if known else None
