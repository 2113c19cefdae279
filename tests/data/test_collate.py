"""Padding images of different sizes, and the annotation record they come with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from dsct.data import Annotations, collate


def test_pads_right_and_bottom() -> None:
    wide, tall = torch.rand(3, 4, 9), torch.rand(3, 7, 5)
    batch = collate([(wide, {"image_id": "w"}), (tall, {"image_id": "t"})])
    assert batch.images.shape == (2, 3, 7, 9)
    assert batch.mask is not None
    assert torch.equal(batch.images[0, :, :4], wide)
    assert torch.equal(batch.images[1, :, :, :5], tall)
    expected = torch.ones(2, 7, 9, dtype=torch.bool)
    expected[0, :4] = False
    expected[1, :, :5] = False
    assert torch.equal(batch.mask, expected)
    assert batch.images[batch.mask[:, None].expand_as(batch.images)].abs().sum() == 0
    assert [target["image_id"] for target in batch.targets] == ["w", "t"]


def test_no_mask_without_padding() -> None:
    images = [torch.rand(3, 4, 6) for _ in range(3)]
    batch = collate([(image, {}) for image in images])
    assert batch.mask is None
    assert torch.equal(batch.images, torch.stack(images))


def test_moves_every_tensor() -> None:
    batch = collate([(torch.ones(3, 2, 2), {"boxes": torch.ones(1, 4), "image_id": 7}), (torch.ones(3, 2, 3), {})])
    moved = batch.to("meta")
    assert moved.mask is not None
    assert {moved.images.device.type, moved.mask.device.type, moved.targets[0]["boxes"].device.type} == {"meta"}
    assert moved.targets[0]["image_id"] == 7


@pytest.mark.parametrize("samples", [[], [(torch.ones(1, 4, 4), {})], [(torch.ones(4, 4), {})]])
def test_rejects_what_is_no_picture(samples: Any) -> None:
    with pytest.raises(ValueError, match="samples must hold"):
        collate(samples)


def test_annotations_become_a_target() -> None:
    record = Annotations(Path("a.jpg"), np.array([[1, 2, 30, 40]]), np.array([[0, 1]]), (64, 48))
    target = record.to_target("a.jpg")
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
    assert target["boxes"].canvas_size == (48, 64)
    assert target["orig_size"].tolist() == [48, 64]
    assert target["labels"].dtype == torch.int64
    target["boxes"][0, 0] = 99
    assert record.boxes[0, 0] == 1


@pytest.mark.parametrize(
    ("boxes", "labels", "size", "message"),
    [
        ([1, 2, 3, 4], [0], (9, 9), r"boxes must be \(n, 4\)"),
        ([[1, 2, 3, 4]], [0, 1], (9, 9), r"labels must be \(1,\)"),
        ([[3, 2, 3, 4]], [0], (9, 9), "x2 > x1"),
        ([[1, 2, np.nan, 4]], [0], (9, 9), "finite"),
        ([[1, 2, 3, 4]], [-1], (9, 9), "from 0 on"),
        ([[1, 2, 3, 4]], [[2, 0]], (9, 9), "0 and 1"),
        ([[1, 2, 3, 4]], [0], (0, 9), "size"),
    ],
)
def test_bad_annotations_are_named(boxes: Any, labels: Any, size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Annotations(None, np.array(boxes), np.array(labels), size)
