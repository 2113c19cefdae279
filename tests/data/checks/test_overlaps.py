"""Boxes that may be the same person: every pair counts, and not every pair is compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

import dsct.data.checks.overlaps as overlaps_module
from dsct.data.checks.check import check
from dsct.data.checks.findings import MOST_PLACES
from dsct.data.checks.overlaps import alike_boxes
from tests.data.annotated_stand_in import Records, record
from tests.data.checks.found import find, kinds


def test_thousands_of_boxes_in_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs are compared without being in memory at once, which took gigabytes; every one counts."""
    number = 3000
    boxes = np.zeros((number, 4), dtype=np.float32)
    boxes[:, 0] = 100 * np.arange(number)
    boxes[:, 2:] = boxes[:, :2] + 50
    boxes[-1], boxes[-2] = boxes[0], boxes[1] + [0, 0, 5, 5]
    one = record(None, boxes, size=(100 * number, 100))
    compared: list[int] = []

    def counted(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        compared.append(len(rows) * len(columns))
        return box_iou(rows, columns)

    monkeypatch.setattr(overlaps_module, "box_iou", counted)
    result = check([Records([one])])
    assert kinds(result) == {"duplicate box": 1, "overlapping people": 1, "images not on disk": 1}
    assert f"people 1 and {number}" in str(find(result, "duplicate box").places[0])
    assert f"people 2 and {number - 1}: IoU 0.83" in str(find(result, "overlapping people").places[0])
    assert sum(compared) <= 64 * number  # not all pairs: boxes far to the right cannot overlap


def test_the_comparison_of_some_pairs_finds_what_that_of_all_does() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand((700, 4), generator=generator) * torch.tensor([90.0, 90.0, 40.0, 40.0])
    boxes[:, 2:] += boxes[:, :2]
    boxes[300:350], boxes[400:450] = boxes[:50], boxes[:50] + 1
    overlap = box_iou(boxes, boxes).triu(diagonal=1)
    equal = (boxes[:, None] == boxes).all(-1)
    found = alike_boxes(boxes, 1000)
    for pairs, expected in zip(found, (equal, ~equal), strict=True):
        where = ((overlap > 0.7) & expected).nonzero().tolist()
        assert pairs.count == len(where) > 40
        assert [[first, second] for first, second, _ in pairs.named] == where[:1000]
        assert all(iou == overlap[first, second] for first, second, iou in pairs.named)


def test_many_equal_boxes_are_counted_and_a_few_named() -> None:
    boxes = np.tile(np.array([[1, 1, 20, 20]], dtype=np.float32), (200, 1))
    result = check([Records([record(None, boxes)])])
    found = find(result, "duplicate box")
    assert found.count == 200 * 199 // 2
    assert len(found.places) == MOST_PLACES
