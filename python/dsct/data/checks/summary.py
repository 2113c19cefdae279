"""How many images and people a data set has, of which classes, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsct.data.records import Annotations

TINY_SIDE = 12  # pixels: a shorter side leaves at most one cell of the finest feature level


@dataclass(frozen=True)
class Summary:
    """Counts of one split, or of all.

    Attributes:
        split: its name.
        source: a description of the file and the labels.
        images: number of records.
        people: number of people.
        people_per_image: number of images with 0, 1, 2, 3, 4 and ``"5+"`` people.
        labels_per_person: fewest, mean and most classes of a person; zeros without people.
        people_per_class: by class name; a person of several classes counts in each.
        median_box: median width and median height in pixels.
        smallest_box: width and height of the box with the smallest area.
        tiny_boxes: people whose box has a side below 12 px.
        skipped: what the loader left out, by reason.
        opened: image files opened by the check.
        mended: what the loader corrected, by reason.
    """

    split: str
    source: str
    images: int
    people: int
    people_per_image: dict[str, int]
    labels_per_person: tuple[int, float, int]
    people_per_class: dict[str, int]
    median_box: tuple[float, float]
    smallest_box: tuple[float, float]
    tiny_boxes: int
    skipped: dict[str, int]
    opened: int
    mended: dict[str, int]


def class_membership(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    """Which person has which class, (n, C); the row of a person whose label does not fit is empty.

    Args:
        labels: (n,) class numbers or (n, C) of 0 and 1.
        num_classes: C.

    Example:
        >>> class_membership(np.array([1, 7]), 2).tolist()
        [[False, True], [False, False]]
    """
    if labels.ndim == 1:
        return np.equal(labels[:, None], np.arange(num_classes))
    if labels.shape[1] != num_classes:
        return np.zeros((len(labels), num_classes), dtype=bool)
    return labels.astype(bool)


def summarize(
    split: str,
    source: str,
    records: Sequence[Annotations],
    class_names: Sequence[str],
    skipped: Mapping[str, int],
    opened: int = 0,
    mended: Mapping[str, int] | None = None,
) -> Summary:
    """Counts the people of `records`.

    Args:
        split: its name.
        source: a description.
        records: one per image.
        class_names: of the C classes.
        skipped: what the loader left out, by reason.
        opened: how many image files were opened.
        mended: what the loader corrected, by reason.

    Example:
        >>> one = Annotations(None, np.array([[10, 20, 50, 80]]), np.array([1]), (640, 480))
        >>> summarize("val", "a table", [one], ("Anger", "Fear"), {}).people_per_class
        {'Anger': 0, 'Fear': 1}
    """
    num_classes = len(class_names)
    counts = np.array([len(record) for record in records], dtype=np.int64)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(record.boxes for record in records)])
    members = np.concatenate(
        [np.zeros((0, num_classes), bool), *(class_membership(record.labels, num_classes) for record in records)]
    )
    sides = boxes[:, 2:] - boxes[:, :2]
    nobody = len(boxes) == 0
    of_person = members.sum(1)
    median = (0.0, 0.0) if nobody else np.median(sides, axis=0)
    smallest = (0.0, 0.0) if nobody else sides[sides.prod(1).argmin()]
    return Summary(
        split=split,
        source=source,
        images=len(records),
        people=len(boxes),
        people_per_image={
            **{str(people): int((counts == people).sum()) for people in range(5)},
            "5+": int((counts >= 5).sum()),
        },
        labels_per_person=(0, 0.0, 0)
        if nobody
        else (int(of_person.min()), float(of_person.mean()), int(of_person.max())),
        people_per_class=dict(zip(class_names, members.sum(0).tolist(), strict=True)),
        median_box=(float(median[0]), float(median[1])),
        smallest_box=(float(smallest[0]), float(smallest[1])),
        tiny_boxes=int((sides.min(1, initial=np.inf) < TINY_SIDE).sum()),
        skipped=dict(skipped),
        opened=opened,
        mended=dict(mended or {}),
    )
