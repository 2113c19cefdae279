"""Small exports of annotation tools, written by hand in the forms of the tools, and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from dsct.data.annotation_files.raw_annotations import RawAnnotations
from dsct.data.annotation_tools import read


def write(path: Path, content: Any) -> Path:
    """Text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def save_image(path: Path, size: tuple[int, int] = (200, 100)) -> Path:
    """A grey image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)
    return path


def people(raw: RawAnnotations) -> list[list[tuple[Any, ...]]]:
    """By image: the rounded box of each person, and the names of the labels."""
    return [
        [
            (*(round(value, 3) for value in person.box), *(raw.class_names[label] for label in person.labels))
            for person in image.people
        ]
        for image in raw.images
    ]


def read_people(path: Path, multi_label: bool = True) -> list[list[tuple[Any, ...]]]:
    """What :func:`people` says of an export."""
    return people(read(path).people(None, multi_label))


def told(path: Path) -> tuple[list[str], list[str]]:
    """What was left out and what was mended in an export, of all images."""
    images = read(path).people(None, multi_label=True).images
    return [one for image in images for one in image.left_out], [one for image in images for one in image.mended]
