"""People beyond the number of subject queries."""

from __future__ import annotations

import numpy as np
import pytest

from dsct.data import AnnotatedDataset
from dsct.data.crowding import people_beyond
from tests.data.dataset_files import record


def groups(*sizes: int) -> AnnotatedDataset:
    records = [record(f"{i}.png", [[1, 1, 9, 9]] * size, np.zeros(size)) for i, size in enumerate(sizes)]
    return AnnotatedDataset(records, split="train", class_names=("calm",), multi_label=False)


def test_only_what_exceeds_the_queries_of_an_image_counts() -> None:
    crowding = people_beyond(groups(0, 4, 8, 5), 4)
    assert crowding == (5, 17, 8, 4)
    assert str(crowding) == "5 of 17 people (29.4%) are beyond num_subject_queries=4; the largest image has 8"


def test_nobody() -> None:
    assert people_beyond(groups(0), 4)[:3] == (0, 0, 0)
    assert "0 of 0 people (0.0%)" in str(people_beyond(groups(0), 4))


def test_out_of_range() -> None:
    with pytest.raises(ValueError, match="num_subject_queries must be at least 1, got 0"):
        people_beyond(groups(1), 0)
