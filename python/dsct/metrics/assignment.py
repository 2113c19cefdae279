"""Which prediction counts for which person: overlaps, duplicate removal and one-to-one matching, many images at once.

Images are stacked and padded; padded boxes are NaN, which overlaps nothing. Shape letters: I images, N predictions,
n people, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

import dsct._dsct as _dsct

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


#: Elements of an array over all pairs of images, predictions and people that is in memory at one time: some 30 MB.
MOST_ELEMENTS = 2**22


def blocks(images: int, *per_image: int) -> Iterator[slice]:
    """Parts of the images whose arrays over all pairs are small; of one image only, if that has too many alone.

    Args:
        images: their number.
        per_image: the shape of what is computed for each image.

    Example:
        >>> list(blocks(3, 1500, 1000, 2))
        [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    rows = max(1, MOST_ELEMENTS // max(1, math.prod(per_image)))
    for start in range(0, images, rows):
        yield slice(start, min(start + rows, images))


def pad(rows: Sequence[Floats], fill: float) -> Floats:
    """Stacks arrays (n_i, D) as (I, max n, D), padded with `fill`."""
    longest = max((len(row) for row in rows), default=0)
    stacked = np.full((len(rows), longest, *rows[0].shape[1:]), fill)
    for i, row in enumerate(rows):
        stacked[i, : len(row)] = row
    return stacked


def box_iou(predicted: Floats, true: Floats, pixel: float = 0.0) -> Floats:
    """Intersection over union of every predicted with every true box of the same image.

    Args:
        predicted: (I, N, 4) ``x1 y1 x2 y2``.
        true: (I, n, 4).
        pixel: added to widths and heights: 1 counts both border pixels, as the released evaluation does.

    Returns:
        (I, N, n) in [0, 1]; 0 where either box is padding.
    """
    first, second = predicted[:, :, None], true[:, None]
    overlap = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]) + pixel
    intersection = overlap.clip(min=0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2] + pixel).prod(axis=-1) for box in (first, second)]
    union = areas[0] + areas[1] - intersection
    iou: Floats = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    iou[np.isnan(iou)] = 0.0
    return iou


def keep_after_nms(boxes: Floats, scores: Floats, iou: float) -> Bools:
    """Greedy suppression within each image: a box is dropped when a better one overlaps it by more than `iou`.

    Args:
        boxes: (I, N, 4), NaN where padded.
        scores: (I, N).
        iou: overlap in [0, 1].

    Returns:
        (I, N) bool, False for suppressed and padded boxes.
    """
    if not 0 <= iou <= 1:
        raise ValueError(f"keep_after_nms: iou must be in [0, 1], got {iou}")
    return _dsct.nms(boxes, scores, iou)


def nearest_prediction(iou: Floats, usable: Bools) -> Ints:
    """For every person the usable prediction with the highest overlap, however low; ties go to the lower index.

    Args:
        iou: (I, N, n).
        usable: (I, N).

    Returns:
        (I, n) index into N, -1 where the image has no usable prediction.
    """
    if iou.shape[1] == 0:
        return np.full((iou.shape[0], iou.shape[2]), -1)
    masked = np.where(usable[:, :, None], iou, -1.0)
    answered = usable.sum(axis=1, keepdims=True) > 0
    return np.where(answered, masked.argmax(axis=1), -1)


def match_by_score(scores: Floats, eligible: Bools, iou: Floats) -> Ints:
    """Greedy one-to-one matching: predictions, best first, each take the free eligible person they overlap most.

    Args:
        scores: (I, N, C), ranks the predictions of an image for each class.
        eligible: (I, N, n, C), which pairs may match.
        iou: (I, N, n).

    Returns:
        (I, N, C) index of the matched person, -1 for a false alarm.
    """
    images, queries, people, classes = eligible.shape
    matched = np.full((images, queries, classes), -1)
    if people == 0:
        return matched
    order = np.argsort(-scores, axis=1, kind="stable")
    taken = np.zeros((images, people, classes), dtype=bool)
    image, cls = np.arange(images)[:, None], np.arange(classes)[None]
    for rank in range(queries):
        query = order[:, rank]  # (I, C)
        free: Bools = eligible[image, query, :, cls] & ~taken.transpose(0, 2, 1)  # (I, C, n)
        overlap = np.where(free, iou[image, query], -1.0)
        person = overlap.argmax(axis=-1)
        hit = free.any(axis=-1)
        matched[image, query, cls] = np.where(hit, person, -1)
        taken[image, person, cls] |= hit
    return matched
