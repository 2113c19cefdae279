"""Overlaps are computed for some images at a time, with the results of all at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dsct.cli.evaluation.numbers import as_json
from dsct.metrics import Evaluator, assignment
from dsct.metrics.assignment import Floats, blocks, box_iou
from tests.metrics.scenes import evaluator_of, scenes


@pytest.mark.parametrize(
    ("images", "per_image", "rows"), [(5, 2, 2), (5, 100, 1), (5, 1, 4), (5, 0, 4), (0, 3, 0), (4, 1, 4)]
)
def test_blocks_cover_all_images(images: int, per_image: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "MOST_ELEMENTS", 4)
    found = list(blocks(images, per_image))
    assert [at for block in found for at in range(images)[block]] == list(range(images))
    assert max((block.stop - block.start for block in found), default=0) == rows


@pytest.mark.parametrize("most", [1, 200, 2**22])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("images", [0, 1, 40])
def test_blocks_change_no_number(images: int, multi_label: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scenes(multi_label, images)

    def numbers() -> tuple[str, Any]:
        evaluator = evaluator_of(made, multi_label)
        tables = [evaluator.person_table(protocol=name).columns for name in ("official", "paper", "detection")]
        return json.dumps(as_json(evaluator.compute(details=True), {})), tables

    monkeypatch.setattr(assignment, "MOST_ELEMENTS", 2**60)
    whole = numbers()
    monkeypatch.setattr(assignment, "MOST_ELEMENTS", most)
    assert numbers() == whole


def test_no_matrix_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images, people = 3000, 40
    corners = np.random.default_rng(0).uniform(0, 500, (people, 2))
    boxes = np.hstack([corners, corners + 20])
    sizes: list[int] = []

    def counted(predicted: Floats, true: Floats, pixel: float = 0.0) -> Floats:
        sizes.append(predicted.shape[0] * predicted.shape[1] * true.shape[1])
        return box_iou(predicted, true, pixel)

    monkeypatch.setattr(assignment, "box_iou", counted)
    evaluator = Evaluator(("calm", "sad"), False)
    one = {"boxes": boxes, "scores": np.ones(people), "probabilities": np.full((people, 2), 0.5)}
    truth = {"boxes": boxes, "labels": np.zeros(people, dtype=int)}
    evaluator.update([one] * images, [truth] * images)
    assert evaluator.compute().box_recall == 1
    assert max(sizes) <= assignment.MOST_ELEMENTS // 2 < images * people * people
