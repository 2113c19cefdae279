"""What EMOTIC states about people beside their labels, and its MATLAB file written again by SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from dsct.config import EMOTIC_CLASSES
from dsct.data import EmoticDataset
from tests.data.dataset_files import (
    EMOTIC_COLUMNS,
    emotic_labels,
    mat_person,
    mat_structs,
    write_emotic_json,
    write_mat,
    write_rows,
)
from tests.data.emotic_forms import TWO_IMAGES, assert_same

WAYS: dict[str, dict[str, Any]] = {
    "simplify_cells": {"simplify_cells": True},
    "squeeze_me": {"squeeze_me": True},
    "objects": {"struct_as_record": False},
    "squeezed objects": {"squeeze_me": True, "struct_as_record": False},
    "characters": {"chars_as_strings": False},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chosen", [slice(None), slice(1), slice(1, 2)], ids=["two", "one person", "one image"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_file_written_again_by_scipy(way: str, chosen: slice, split: str, tmp_path: Path) -> None:
    records = TWO_IMAGES[chosen]
    again = loadmat(write_mat(tmp_path / "Annotations.mat", {split: records}), **WAYS[way])
    savemat(tmp_path / "again.mat", {split: again[split]})
    for labels in ("combined", "union"):
        data = EmoticDataset.from_mat(tmp_path / "again.mat", None, split, labels=labels)
        assert_same(data, records)
        assert data.annotations(0).attributes["age"][0] == "Adult"
        np.testing.assert_array_equal(data.annotations(0).continuous, [[5, 5, 5]] * len(data.annotations(0)))


def test_a_cell_without_struct_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"val": np.array([[1, "two"]], dtype=object)})
    with pytest.raises(ValueError, match=r"val must be a struct array or a cell array of structs, .* int"):
        EmoticDataset.from_mat(tmp_path / "a.mat", None, "val")


def test_a_struct_without_people_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"val": [{"filename": "a", "folder": "b", "image_size": 1}, {"filename": "a"}]})
    with pytest.raises(ValueError, match=r"val\(1\): fields are missing: person"):
        EmoticDataset.from_mat(tmp_path / "a.mat", None, "val")


def one_person(tmp_path: Path, split: str, change: dict[str, Any]) -> EmoticDataset:
    person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=split != "train") | change
    image = {"filename": "a.png", "folder": "mscoco/images", "image_size": mat_structs([{"n_col": 64, "n_row": 48}])}
    savemat(tmp_path / "a.mat", {split: mat_structs([image | {"person": mat_structs([person])}])})
    return EmoticDataset.from_mat(tmp_path / "a.mat", None, split)


def feelings(*rows: tuple[float, float, float]) -> Any:
    return mat_structs([dict(zip(("valence", "arousal", "dominance"), row, strict=True)) for row in rows])


class TestMat:
    def test_combined_values_count(self, tmp_path: Path) -> None:
        change = {
            "combined_continuous": feelings((5.5, 4, 7)),
            "annotations_continuous": feelings((1, 1, 1), (9, 9, 9)),
        }
        np.testing.assert_array_equal(one_person(tmp_path, "val", change).annotations(0).continuous, [[5.5, 4, 7]])

    def test_mean_over_annotators_who_said_something(self, tmp_path: Path) -> None:
        nan = float("nan")
        change = {
            "combined_continuous": feelings((nan, nan, nan)),
            "annotations_continuous": feelings((4, nan, nan), (6, 3, nan)),
        }
        np.testing.assert_array_equal(one_person(tmp_path, "val", change).annotations(0).continuous, [[5, 3, nan]])

    def test_nobody_said_anything(self, tmp_path: Path) -> None:
        nan = float("nan")
        data = one_person(tmp_path, "train", {"annotations_continuous": feelings((nan, nan, nan)), "age": ""})
        assert data.annotations(0).continuous is None
        assert data.annotations(0).attributes == {"gender": ("Female",)}

    def test_missing_axis_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match=r"train\(1\).person\(1\): the field dominance is missing, there are valence, arousal"
        ):
            one_person(tmp_path, "train", {"annotations_continuous": mat_structs([{"valence": 1, "arousal": 1}])})


class TestCsv:
    @pytest.mark.parametrize(
        ("cell", "expected"),
        [("[5.5, 4, 7]", [5.5, 4, 7]), ("[5, nan, 7.0]", [5, np.nan, 7]), ("[[1, 2, 3]]", [1, 2, 3])],
    )
    def test_continuous(self, cell: str, expected: list[float], tmp_path: Path) -> None:
        row = [0, "mscoco/images", "a.png", "[640, 480]", "[1, 1, 9, 9]", "['Fear']", cell, "Male", "Kid"]
        found = EmoticDataset.from_csv(write_rows(tmp_path / "val.csv", EMOTIC_COLUMNS, [row])).annotations(0)
        np.testing.assert_array_equal(found.continuous, [expected])
        assert found.attributes == {"gender": ("Male",), "age": ("Kid",)}

    @pytest.mark.parametrize("cell", ["", "[nan]", "[nan, nan, nan]"])
    def test_unknown(self, cell: str, tmp_path: Path) -> None:
        row = [0, "mscoco/images", "a.png", "[640, 480]", "[1, 1, 9, 9]", "['Fear']", cell, "", ""]
        found = EmoticDataset.from_csv(write_rows(tmp_path / "val.csv", EMOTIC_COLUMNS, [row])).annotations(0)
        assert (found.continuous, found.attributes) == (None, {})

    def test_malformed(self, tmp_path: Path) -> None:
        row = [0, "mscoco/images", "a.png", "[640, 480]", "[1, 1, 9, 9]", "['Fear']", "[5, 5]", "", ""]
        with pytest.raises(ValueError, match=r"line 2: Continuous_Labels must be a list of 3 numbers, got '\[5, 5\]'"):
            EmoticDataset.from_csv(write_rows(tmp_path / "val.csv", EMOTIC_COLUMNS, [row]))


def test_released_json_states_neither(tmp_path: Path) -> None:
    found = EmoticDataset.from_coco_json(write_emotic_json(tmp_path / "emotic_val_bi.json", TWO_IMAGES)).annotations(0)
    assert (found.continuous, found.attributes, found.labels.shape) == (None, {}, (1, len(EMOTIC_CLASSES)))
