"""Suppression of duplicates in many images at once, against torchvision's in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from dsct import _dsct
from dsct.metrics.assignment import keep_after_nms
from tests.metrics.arrays import LAYOUTS, UNREADABLE, Array


def people(images: int, queries: int, seed: int = 0) -> tuple[Array, Array]:
    """Boxes that overlap often, NaN where an image has fewer, and scores with ties."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, 30, (images, queries, 2)).astype(float)
    boxes = np.concatenate([corner, corner + generator.integers(0, 30, (images, queries, 2))], axis=-1)
    boxes[generator.random((images, queries)) < 0.2] = np.nan
    return boxes, generator.integers(0, 8, (images, queries)) / 8


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 4), st.integers(0, 12), st.floats(0, 1))
def test_suppression_is_that_of_torchvision_in_each_image(seed: int, images: int, queries: int, iou: float) -> None:
    boxes, scores = people(images, queries, seed)
    keep = keep_after_nms(boxes, scores, iou)
    assert keep.dtype == bool
    assert keep.shape == (images, queries)
    for of_image, its_boxes, its_scores in zip(keep, boxes, scores, strict=True):
        there = np.flatnonzero(~np.isnan(its_boxes[:, 0]))
        kept = nms(torch.from_numpy(its_boxes[there]), torch.from_numpy(its_scores[there]), iou).numpy()
        assert np.flatnonzero(of_image).tolist() == sorted(there[kept].tolist())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(3, 5), (0, 5), (3, 0), (1, 1)])
def test_suppression_reads_any_layout(layout: str, size: tuple[int, int]) -> None:
    boxes, scores = people(*size)
    laid_out = LAYOUTS[layout](boxes), LAYOUTS[layout](scores)
    np.testing.assert_array_equal(keep_after_nms(*laid_out, 0.3), keep_after_nms(boxes, scores, 0.3))
    np.testing.assert_array_equal(laid_out[0], boxes)


@pytest.mark.parametrize(
    ("boxes", "scores", "error", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), ValueError, r"boxes must be \(I, N, 4\), got \(2, 3\)"),
        (np.zeros((2, 3, 5)), np.zeros((2, 3)), ValueError, r"boxes must be \(I, N, 4\), got \(2, 3, 5\)"),
        (np.zeros((2, 3, 4)), np.zeros((3, 2)), ValueError, r"scores must be \(2, 3\), one per box, got \(3, 2\)"),
        (np.zeros((2, 3, 4)), np.zeros(6), ValueError, r"scores must be \(I, N\), got \(6\)"),
        *((np.zeros((2, 2, 4)), scores, TypeError, f"scores {message}") for scores, message in UNREADABLE[:4]),
    ],
)
def test_suppression_names_what_does_not_fit(boxes: Any, scores: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _dsct.nms(boxes, scores, 0.5)


@pytest.mark.parametrize("iou", [float("nan"), -1, 2])
def test_suppression_needs_an_overlap(iou: float) -> None:
    with pytest.raises(ValueError, match=rf"keep_after_nms: iou must be in \[0, 1\], got {iou}"):
        keep_after_nms(np.zeros((1, 1, 4)), np.zeros((1, 1)), iou)
