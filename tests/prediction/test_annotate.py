"""Boxes and tags drawn onto an image: in the right place and colour, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from dsct.prediction.annotate import annotate
from dsct.prediction.people import People
from dsct.prediction.person_colors import PERSON_COLORS


def found(boxes: list[list[float]], size: tuple[int, int] = (320, 240), label: str = "Happy") -> People:
    count = len(boxes)
    return People(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.5, np.float32), [[label]] * count,
        np.full((count, 1), 0.75, np.float32), (label,), size, Image.new("RGB", size, "white"),
    )  # fmt: skip


def pixels(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(image)


def touched(people: People) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where drawing changed the white image."""
    return (pixels(annotate(people.source, people)) != 255).any(2)


def tag_pixels(boxes: list[list[float]]) -> int:
    """How many pixels the tags change besides what the boxes change."""
    people = found(boxes)
    return int((touched(people) & ~touched(dataclasses.replace(people, labels=[[]] * len(boxes)))).sum())


def test_the_image_is_copied_and_nobody_changes_nothing() -> None:
    people = found([])
    source = people.source
    assert isinstance(source, Image.Image)
    result = annotate(source, people)
    assert result is not source
    assert (pixels(result) == pixels(source)).all()
    annotate(source, found([[10, 10, 90, 90]]))
    assert (pixels(source) == 255).all()


def test_each_person_has_a_box_of_its_colour() -> None:
    boxes = [[10.0 + 45 * i, 100, 40 + 45 * i, 200] for i in range(len(PERSON_COLORS))]
    result = pixels(annotate(Image.new("RGB", (320, 240), "white"), found(boxes)))
    for (x1, y1, x2, y2), color in zip(boxes, PERSON_COLORS, strict=True):
        x, y = int(x1 + x2) // 2, int(y1 + y2) // 2
        for place in [(y, int(x1)), (y, int(x2)), (int(y2), x)]:
            assert tuple(result[place]) == ImageColor.getrgb(color)
        assert (result[y, x] == 255).all()


def test_only_box_and_tag_are_touched() -> None:
    changed = touched(found([[100, 120, 160, 200]]))
    assert changed[108:118, 100:150].all()  # the tag, above the box
    changed[98:204, 96:210] = False
    assert not changed.any()


@pytest.mark.parametrize("box", [[0, 0, 40, 40], [280, 0, 320, 240], [300, 220, 320, 240], [0, 0, 320, 240]])
def test_tags_stay_in_the_image(box: list[float]) -> None:
    assert tag_pixels([box]) > 0.8 * tag_pixels([[100, 100, 200, 200]])


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (300, 20)])
def test_small_images_and_many_people(size: tuple[int, int]) -> None:
    people = found([[0, 0, *map(float, size)]] * 9, size, "Überraschung/Ärger")
    assert annotate(people.source, people).size == size
    assert touched(people).any()


def test_tag_names_the_most_probable_label_and_counts_the_others() -> None:
    one = found([[100, 120, 160, 200]])
    several = dataclasses.replace(
        one, labels=[["Sad", "Happy"]], probabilities=np.array([[0.1, 0.75]], np.float32), class_names=("Sad", "Happy")
    )
    assert touched(several)[104:118].sum() > touched(one)[104:118].sum()
    assert (pixels(annotate(one.source, one))[:, :148] == pixels(annotate(one.source, several))[:, :148]).all()
