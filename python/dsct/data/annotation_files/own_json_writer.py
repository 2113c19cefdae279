"""Writes records in the form of COCO that :class:`OwnJson` reads."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsct.complete_files import replaced_when_complete
from dsct.data.annotated import AnnotatedDataset
from dsct.data.records import Annotations


def coco_content(data: AnnotatedDataset, names: Sequence[str]) -> dict[str, Any]:
    """The content of a COCO JSON.

    Args:
        data: any data set.
        names: of its images, as they shall be written.

    Returns:
        Images, annotations and categories, with ids from 1 on.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        record = data.annotations(index)
        width, height = record.size
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for person in range(len(record)):
            about = {"id": len(annotations) + 1, "image_id": index + 1, **_person(record, person)}
            annotations.append(about)
    categories = [{"id": number, "name": name} for number, name in enumerate(data.class_names, 1)]
    info = {"description": data.source}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is there as a whole or not at all."""
    with replaced_when_complete(path) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def _person(record: Annotations, person: int) -> dict[str, Any]:
    x1, y1, x2, y2 = record.boxes[person]
    x, width = _start_and_length(x1, x2)
    y, height = _start_and_length(y1, y2)
    label = record.labels[person]
    ids = [int(number) + 1 for number in (np.flatnonzero(label) if label.ndim else [label])]
    # Other programs want one category; it is the first.
    about: dict[str, Any] = {"category_id": ids[0]} if ids else {}
    if label.ndim:
        about["category_ids"] = ids
    about |= {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
    if record.continuous is not None and not np.isnan(record.continuous[person]).all():
        about["continuous"] = [None if math.isnan(value) else _short(value) for value in record.continuous[person]]
    if attributes := {name: texts[person] for name, texts in record.attributes.items() if texts[person]}:
        about["person"] = attributes
    return about


def _start_and_length(start: np.float32, end: np.float32) -> tuple[int | float, int | float]:
    """Numbers as short as possible of which the reader makes the same two float32."""
    first, last = _short(start), _short(end)
    length = round(last - first, 6)
    if np.float32(first + length) != end:
        length = last - first
    if np.float32(first + length) != end:
        first, length = float(start), float(end) - float(start)
    return first, int(length) if float(length).is_integer() else length


def _short(value: np.float32) -> int | float:
    """The shortest number that is this float32."""
    return int(value) if float(value).is_integer() else float(str(value))
