"""EMOTIC written and read in each of its forms: what their tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dsct.data import AnnotatedDataset, Annotations, EmoticDataset
from tests.data.dataset_files import emotic_labels, record, write_emotic_csv, write_emotic_json, write_mat

TWO_IMAGES = [
    record("mscoco/images/a.png", [[10, 20, 50, 80]], emotic_labels(["Affection"])),
    record(
        "emodb_small/images/b.png",
        [[0, 0, 30, 40], [100, 5, 450, 300]],
        emotic_labels(["Peace", "Yearning"], ["Doubt/Confusion"]),
        (450, 300),
    ),
]


def read(form: str, folder: Path, records: list[Annotations], image_root: Path | None = None) -> EmoticDataset:
    """Writes and reads validation data."""
    if form == "json":
        return EmoticDataset.from_coco_json(write_emotic_json(folder / "emotic_val_bi.json", records), image_root)
    if form == "csv":
        return EmoticDataset.from_csv(write_emotic_csv(folder / "val.csv", records), image_root)
    return EmoticDataset.from_mat(write_mat(folder / "Annotations.mat", {"val": records}), image_root, "val")


def assert_same(data: AnnotatedDataset, records: list[Annotations], root: Path | None = None) -> None:
    assert len(data) == len(records)
    for index, expected in enumerate(records):
        found = data.annotations(index)
        assert expected.image_path is not None
        assert found.image_path == (expected.image_path if root is None else root / expected.image_path)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert found.size == expected.size


def told_of_size(form: str) -> dict[str, int]:
    """What is told of one image of ``emodb_small``: the two forms that are not JSON exchange its sides."""
    return {} if form == "json" else {"width and height swapped": 1}
