"""EMOTIC's MATLAB file: whims of nested structs, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from dsct.config import EMOTIC_CLASSES
from dsct.data import EmoticDataset
from tests.data.dataset_files import emotic_labels, mat_cell, mat_person, mat_structs, write_mat
from tests.data.emotic_forms import TWO_IMAGES, assert_same, read


def mat_file(folder: Path, persons: list[dict[str, Any]]) -> Path:
    """One validation image with some people, who must have the same fields."""
    image = {
        "filename": "a.png",
        "folder": "mscoco/images",
        "image_size": mat_structs([{"n_col": 640, "n_row": 480}]),
        "person": mat_structs(persons),
    }
    savemat(folder / "Annotations.mat", {"val": mat_structs([image])})
    return folder / "Annotations.mat"


class TestMat:
    def test_union_takes_what_one_annotator_says(self, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "a.mat", {"test": TWO_IMAGES}, whim="Surprise")
        assert_same(EmoticDataset.from_mat(path, split="test"), TWO_IMAGES)
        united = EmoticDataset.from_mat(path, split="test", labels="union")
        surprise = EMOTIC_CLASSES.index("Surprise")
        for index, expected in enumerate(TWO_IMAGES):
            labels = united.annotations(index).labels
            assert (labels[:, surprise] == 1).all()
            np.testing.assert_array_equal(np.delete(labels, surprise, 1), np.delete(expected.labels, surprise, 1))
        assert united.source == "a.mat, body boxes, union of the annotators' labels, image sizes guessed"

    @pytest.mark.parametrize("labels", ["combined", "union"])
    def test_training_has_one_annotator(self, labels: str, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "a.mat", {"train": TWO_IMAGES, "val": TWO_IMAGES[:1]})
        assert_same(EmoticDataset.from_mat(path, labels=labels), TWO_IMAGES)
        assert_same(EmoticDataset.from_mat(path, split="val", labels=labels), TWO_IMAGES[:1])

    def test_one_image_one_person_one_category(self, tmp_path: Path) -> None:
        """Where MATLAB's arrays of one element tempt readers to take them for the element."""
        assert_same(read("mat", tmp_path, TWO_IMAGES[:1]), TWO_IMAGES[:1])
        path = write_mat(tmp_path / "one.mat", {"train": TWO_IMAGES[:1]})
        assert_same(EmoticDataset.from_mat(path), TWO_IMAGES[:1])

    def test_category_as_bare_text(self, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=True)
        person["combined_categories"] = "Fear"
        data = EmoticDataset.from_mat(mat_file(tmp_path, [person]), split="val")
        np.testing.assert_array_equal(data.annotations(0).labels, emotic_labels(["Fear"]))

    def test_people_without_annotators(self, tmp_path: Path) -> None:
        person, other = (mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=False) for _ in range(2))
        other["annotations_categories"] = np.empty((0, 0))
        data = EmoticDataset.from_mat(mat_file(tmp_path, [other, person]), split="val")
        assert len(data.annotations(0)) == 1
        assert data.skipped == {"person without labels": 1}

    def test_several_annotators_without_combined_categories(self, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear", "Pain"])[0], None, several=True)
        del person["combined_categories"]
        path = mat_file(tmp_path, [person])
        with pytest.raises(
            ValueError,
            match=r"val\(1\).person\(1\): combined_categories is missing for 2 annotators; use labels='un",
        ):
            EmoticDataset.from_mat(path, split="val")
        assert len(EmoticDataset.from_mat(path, split="val", labels="union")) == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"combined_categories": mat_cell(["Joy"])},
                r"Annotations.mat: no person can be used, the first: val\(1\).person\(1\): 'Joy' is none",
            ),
            ({"body_bbox": np.zeros((1, 3))}, "body_bbox must be 4 numbers"),
            ({"combined_categories": np.ones((1, 2))}, "text was expected, got an array of float64"),
        ],
    )
    def test_malformed_person(self, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=True) | change
        with pytest.raises(ValueError, match=message):
            EmoticDataset.from_mat(mat_file(tmp_path, [person]), split="val")

    def test_person_without_box(self, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=True)
        del person["body_bbox"]
        with pytest.raises(ValueError, match=r"val\(1\).person\(1\): the field body_bbox is missing"):
            EmoticDataset.from_mat(mat_file(tmp_path, [person]), split="val")

    def test_not_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "Annotations.mat"
        path.write_bytes(b"nonsense" * 100)
        with pytest.raises(ValueError, match=r"Annotations.mat: not a MATLAB 5 file"):
            EmoticDataset.from_mat(path)
        savemat(path, {"train": np.ones(3)})
        with pytest.raises(ValueError, match="there is no variable 'val'"):
            EmoticDataset.from_mat(path, split="val")
        with pytest.raises(
            ValueError, match="train must be a struct array or a cell array of structs, a struct was expected"
        ):
            EmoticDataset.from_mat(path)

    def test_truncated_file(self, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "Annotations.mat", {"train": TWO_IMAGES})
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(ValueError, match=r"Annotations.mat: not a MATLAB 5 file"):
            EmoticDataset.from_mat(path)

    @pytest.mark.parametrize(("name", "value"), [("split", "validation"), ("labels", "mean")])
    def test_unknown_choice(self, name: str, value: str, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "Annotations.mat", {"train": TWO_IMAGES})
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{value}'"):
            EmoticDataset.from_mat(path, **{name: value})

    def test_without_scipy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_mat(tmp_path / "Annotations.mat", {"train": TWO_IMAGES})
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"needs SciPy, which is not installed: pip install scipy"):
            EmoticDataset.from_mat(path)
