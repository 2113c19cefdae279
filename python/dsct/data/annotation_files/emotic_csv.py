"""EMOTIC's CSV conversions: one whose cells hold Python lists, and the one of ``emotic_arrays``, told by the header."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsct.config import EMOTIC_CLASSES
from dsct.data.annotation_files.csv_table import read_header, read_table
from dsct.data.annotation_files.emotic_arrays import HEADER, person_attributes, read_emotic_arrays
from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, RawPerson
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_files.unusable import (
    MALFORMED_ROW,
    UNKNOWN_CATEGORY,
    Unusable,
    ragged,
    reason_of,
    require_any,
)

CLASS_NUMBERS = {name: number for number, name in enumerate(EMOTIC_CLASSES)}
_NAN = re.compile(r"(?<![\w'\"])nan(?![\w'\"])", re.IGNORECASE)
_COLUMNS = ("Folder", "Filename", "Image Size", "BBox", "Categorical_Labels")


def read_emotic_csv(path: Path) -> RawAnnotations:
    """The images in the order of their first rows; their sizes are a guess. Rows that cannot be used are left out.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or no row can be used; the message names file and line.
    """
    changes = Changes()
    try:
        rows = list(read_table(path, _COLUMNS, ragged(changes)))
    except ValueError:
        if set(read_header(path)) >= HEADER:
            return read_emotic_arrays(path)
        raise
    images: dict[str, RawImage] = {}
    lost = []
    for line, row in rows:
        if not row["Filename"]:
            changes.lose(MALFORMED_ROW, f"line {line}: Filename must not be empty")
            continue
        try:
            new, person = _image_and_person(row)
        except (ValueError, OverflowError) as error:
            place = f"line {line}: {error}"
            lost.append((RawImage(f"{row['Folder']}/{row['Filename']}"), reason_of(error, MALFORMED_ROW), place))
            continue
        images.setdefault(new.name, new).people.append(person)
    # At last, because a row that cannot be used may lack the size of its image.
    for image, reason, place in lost:
        images.setdefault(image.name, image).leave_out(reason, place)
    require_any(path, images.values(), changes, "row")
    source, split = "body boxes, combined labels", split_from_name(path)
    return RawAnnotations(path, split, list(images.values()), EMOTIC_CLASSES, True, source, changes=changes)


def is_emotic_csv(path: Path) -> bool:
    """Whether a CSV is a conversion of EMOTIC, by its header."""
    header = set(read_header(path))
    return header >= {"Folder", "Filename"} or header >= HEADER


def emotic_image(folder: str, filename: str, first: float, second: float) -> RawImage:
    """An image of EMOTIC's files, where the two numbers of the size are swapped in ``emodb_small``.

    Raises:
        ValueError: a number is not positive.

    Example:
        >>> emotic_image("mscoco/images", "1.jpg", 640, 480).size
        (640, 480)
        >>> image = emotic_image("emodb_small/images", "2.jpg", 300, 450)
        >>> image.size, image.mended
        ((450, 300), ('width and height swapped',))
    """
    if not (1 <= first < math.inf and 1 <= second < math.inf):
        raise ValueError(f"the image size must be positive, got {first:g} and {second:g}")
    first, second = int(first), int(second)
    if folder.startswith("emodb_small") and first != second:
        return RawImage(f"{folder}/{filename}", (second, first), mended=("width and height swapped",))
    return RawImage(f"{folder}/{filename}", (first, second))


def class_numbers(names: list[object]) -> tuple[int, ...]:
    """Numbers of EMOTIC class names.

    Raises:
        Unusable: a name is unknown.

    Example:
        >>> class_numbers(["Anger", "Affection"])
        (1, 0)
    """
    unknown = [name for name in names if name not in EMOTIC_CLASSES]
    if unknown:
        sentence = f"{unknown[0]!r} is none of the 26 EMOTIC classes: {', '.join(EMOTIC_CLASSES)}"
        raise Unusable(UNKNOWN_CATEGORY, sentence)
    return tuple(CLASS_NUMBERS[str(name)] for name in names)


def _image_and_person(row: Mapping[str, str]) -> tuple[RawImage, RawPerson]:
    """The image of a row without people, and the person."""
    image = emotic_image(row["Folder"], row["Filename"], *_numbers("Image Size", row["Image Size"], 2))
    x1, y1, x2, y2 = _numbers("BBox", row["BBox"], 4)
    labels = class_numbers(_list("Categorical_Labels", row["Categorical_Labels"]))
    continuous = _continuous(row.get("Continuous_Labels", ""))
    return image, RawPerson((x1, y1, x2, y2), labels, continuous, person_attributes(row))


def _continuous(text: str) -> tuple[float, float, float] | None:
    """Valence, arousal and dominance, where the conversion writes ``nan`` for what nobody stated."""
    if not text:
        return None
    values: list[Any] = _list("Continuous_Labels", text)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    numbers = [math.nan if value is None else value for value in values]
    if not all(isinstance(value, (int, float)) for value in numbers) or len(numbers) not in (1, 3):
        raise ValueError(f"Continuous_Labels must be a list of 3 numbers, got {text!r}")
    if all(math.isnan(value) for value in numbers):
        return None
    valence, arousal, dominance = (float(value) for value in numbers)
    return valence, arousal, dominance


def _list(column: str, text: str) -> list[object]:
    """The list that a cell holds, with None where NaN is written."""
    try:
        value = ast.literal_eval(_NAN.sub("None", text))
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{column} must be a Python list, got {text!r}") from error
    if not isinstance(value, list):
        raise ValueError(f"{column} must be a Python list, got {text!r}")
    return value


def _numbers(column: str, text: str, count: int) -> list[float]:
    values = [math.nan if value is None else value for value in _list(column, text)]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if not len(values) == len(numbers) == count:
        raise ValueError(f"{column} must be a list of {count} numbers, got {text!r}")
    return numbers
