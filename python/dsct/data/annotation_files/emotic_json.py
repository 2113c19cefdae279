"""``emotic_{train,val,test}_bi.json`` of the released code, in which one number holds all labels of a person."""

from __future__ import annotations

import operator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsct.config import EMOTIC_CLASSES
from dsct.data.annotation_files.coco_json import Entry, category_id, load_coco_json, raw_images
from dsct.data.annotation_files.raw_annotations import RawAnnotations
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_files.unusable import UNKNOWN_CATEGORY, Unusable

_SHIFTS = np.arange(len(EMOTIC_CLASSES) - 1, -1, -1)


def encode_category_id(labels: ArrayLike) -> int:
    """26 labels as one number, the first class (Affection) as the most significant bit.

    Args:
        labels: (26,) of 0 and 1.

    Returns:
        From 0 to 2²⁶ − 1.

    Raises:
        ValueError: `labels` has another shape or another value.

    Example:
        >>> encode_category_id([0] * 24 + [1, 0])
        2
    """
    bits = np.asarray(labels)
    if bits.shape != _SHIFTS.shape or not np.isin(bits, (0, 1)).all():
        raise ValueError(f"labels must be {len(_SHIFTS)} of 0 and 1, got {bits.tolist()}")
    return int((bits.astype(np.int64) << _SHIFTS).sum())


def decode_category_id(category_id: int) -> NDArray[np.int64]:
    """The 26 labels of a number of :func:`encode_category_id`.

    Args:
        category_id: from 0 to 2²⁶ − 1.

    Returns:
        (26,) int64 of 0 and 1.

    Raises:
        TypeError: `category_id` is not an integer.
        ValueError: `category_id` is out of range.

    Example:
        >>> [EMOTIC_CLASSES[i] for i in decode_category_id(2**25 + 1).nonzero()[0]]
        ['Affection', 'Yearning']
    """
    number = operator.index(category_id)
    if not 0 <= number < 2 ** len(_SHIFTS):
        raise ValueError(f"category_id must be in 0..{2 ** len(_SHIFTS) - 1}, 26 bits, got {number}")
    return (number >> _SHIFTS) & 1


def read_emotic_json(path: Path) -> RawAnnotations:
    """The images of ``emotic_{train,val,test}_bi.json``.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed, or no annotation can be used.
    """
    images, changes = raw_images(path, load_coco_json(path), _labels)
    return RawAnnotations(
        path,
        split_from_name(path),
        images,
        EMOTIC_CLASSES,
        multi_label=True,
        source="head boxes, union of the annotators' labels",
        certain_sizes=True,
        changes=changes,
    )


def _labels(entry: Entry) -> tuple[int, ...]:
    number = category_id(entry)
    try:
        return tuple(int(label) for label in decode_category_id(number).nonzero()[0])
    except ValueError as error:
        raise Unusable(UNKNOWN_CATEGORY, str(error)) from error
