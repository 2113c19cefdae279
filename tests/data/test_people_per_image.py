"""People beyond the subject queries of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dsct.data import AnnotatedDataset, Annotations
from dsct.data.people_per_image import beyond_queries


def crowd(*counts: int) -> AnnotatedDataset:
    box = np.array([[1, 2, 3, 4]], dtype=np.float32)
    records = [
        Annotations(Path(f"{i}.png"), box.repeat(count, axis=0), np.zeros(count, np.int64), (64, 48))
        for i, count in enumerate(counts)
    ]
    return AnnotatedDataset(records, split="train", class_names=("calm",), multi_label=False)


def test_people_beyond_the_queries_are_counted() -> None:
    said = beyond_queries(crowd(8, 0, 5, 3), 4)
    assert said == "5 of 16 people are beyond num_subject_queries=4; the largest image has 8"
    assert beyond_queries(crowd(8, 0, 5, 3), 8) is None
    assert beyond_queries(crowd(0), 1) is None
