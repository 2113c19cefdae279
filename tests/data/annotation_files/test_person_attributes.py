"""CVAT's COCO: one label for people, emotions as check boxes or selects, turned boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsct.data import CocoDataset, open_split
from dsct.data.folders import DataFolder
from tests.data.dataset_files import record, save_images, write_json

CHECKED = [{"happy": True, "sad": False, "occluded": False}, {"happy": True, "sad": True, "occluded": True}]
CHOSEN = [{"emotion": "happy", "track_id": 3, "keyframe": True}, {"emotion": "calm", "occluded": True}]


def cvat(path: Path, attributes: list[Any], categories: tuple[str, ...] = ("person",), **person: Any) -> Path:
    images = [{"id": i, "file_name": f"{i}.png", "width": 640, "height": 480} for i in range(1, len(attributes) + 1)]
    people = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [200, 100, 200, 100], "attributes": one, **person}
        for i, one in enumerate(attributes, 1)
    ]
    names = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(categories, 1)]
    return write_json(path, {"images": images, "annotations": people, "categories": names})


def labels(data: CocoDataset) -> list[list[str]]:
    rows = [data.annotations(index).labels for index in range(len(data))]
    return [[data.class_names[number] for number in np.flatnonzero(row[0])] for row in rows]


class TestSeveralLabels:
    def test_true_check_boxes(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", CHECKED), multi_label=True)
        assert (data.class_names, labels(data)) == (("happy", "sad"), [["happy"], ["happy", "sad"]])
        assert data.source == "train.json, several labels per person, from the attributes happy, sad"
        assert not data.skipped

    def test_texts_as_older_versions_write_them(self, tmp_path: Path) -> None:
        written = [{"happy": "true", "sad": "False"}, {"happy": "", "sad": "true"}]
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", written), multi_label=True)
        assert (data.class_names, labels(data)) == (("happy", "sad"), [["happy"], ["sad"]])

    def test_named_selects(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", CHOSEN), multi_label=True)
        assert (data.class_names, labels(data)) == (("calm", "happy"), [["happy"], ["calm"]])

    def test_both_and_a_person_without_any(self, tmp_path: Path) -> None:
        mixed = [{"emotion": "calm", "tired": True}, {"emotion": "__undefined__", "tired": False}, {"emotion": "sad"}]
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", mixed), multi_label=True)
        assert (data.class_names, labels(data)) == (("calm", "sad", "tired"), [["calm", "tired"], ["sad"]])
        assert data.skipped == {"image without usable person": 1, "person without labels": 1}

    def test_a_check_box_that_nobody_has_is_a_class(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(cvat(tmp_path / "a.json", [{"happy": True, "sad": False}]), multi_label=True)
        assert data.class_names == ("happy", "sad")

    def test_the_classes_of_the_training_file_count_in_every_split(self, tmp_path: Path) -> None:
        cvat(tmp_path / "train.json", [*CHOSEN, {"emotion": "afraid"}])
        cvat(tmp_path / "val.json", CHOSEN[:1])
        save_images([record(f"{i}.png", [], [], (640, 480)) for i in (1, 2, 3)], tmp_path)
        data = open_split("coco", tmp_path, "val", multi_label=True)
        assert (data.class_names, data.annotations(0).labels.tolist()) == (("afraid", "calm", "happy"), [[0, 0, 1]])

    def test_class_names_number_them(self, tmp_path: Path) -> None:
        path = cvat(tmp_path / "train.json", CHOSEN)
        data = CocoDataset.from_json(path, multi_label=True, class_names=["happy", "sad", "calm"])
        assert [data.annotations(i).labels.tolist() for i in range(2)] == [[[1, 0, 0]], [[0, 0, 1]]]
        with pytest.raises(ValueError, match="category 'calm' is none of the classes happy, sad"):
            CocoDataset.from_json(path, multi_label=True, class_names=["happy", "sad"])

    def test_categories_that_are_kinds_of_people(self, tmp_path: Path) -> None:
        path = cvat(tmp_path / "train.json", CHECKED, ("man", "Woman"))
        data = CocoDataset.from_json(path, multi_label=True)
        assert (data.class_names, labels(data)) == (("happy", "sad"), [["happy"], ["happy", "sad"]])
        with pytest.raises(ValueError, match=r"the only categories are 'man', 'Woman', so .* \(--multi-label"):
            CocoDataset.from_json(path)
        assert CocoDataset.from_json(cvat(path, [{"occluded": True}], ("man", "woman"))).class_names == ("man", "woman")

    def test_check_boxes_beside_other_categories_are_not_passed_over_in_silence(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", CHECKED, ("calm", "tense")), multi_label=True)
        assert (data.class_names, labels(data)) == (("calm", "tense"), [["calm"], ["calm"]])
        assert data.source.endswith(", without the check boxes happy, sad")


class TestOneLabel:
    @pytest.mark.parametrize("others", [{"gender": "male"}, {"pose": "standing", "Age": "adult"}])
    @pytest.mark.parametrize("name", ["emotion", "Facial expression", "mood_1"])
    def test_the_select_whose_name_speaks_of_emotions(self, name: str, others: dict[str, str], tmp_path: Path) -> None:
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", [{name: "calm", **others}, {name: "sad", **others}]))
        assert data.class_names == ("calm", "sad")
        assert data.annotations(0).attributes == {key: (value,) for key, value in others.items()}

    def test_a_single_select(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", CHOSEN))
        assert data.class_names == ("calm", "happy")
        assert [data.annotations(index).labels.tolist() for index in range(2)] == [[1], [0]]

    @pytest.mark.parametrize(
        "attributes", [CHECKED, [{"left": "calm", "right": "sad"}], [{"mood": "calm", "expression": "sad"}]]
    )
    def test_several_attributes_are_not_passed_over(self, attributes: list[Any], tmp_path: Path) -> None:
        message = r"train.json: the only category is 'person', so the labels are the attributes, .* \(--multi-label\)"
        with pytest.raises(ValueError, match=message):
            CocoDataset.from_json(cvat(tmp_path / "train.json", attributes))
        save_images([record(f"{i}.png", [], [], (640, 480)) for i in (1, 2)], tmp_path)
        with pytest.raises(ValueError, match=message):
            DataFolder("coco", tmp_path).open("train")

    def test_other_categories_are_the_labels_and_texts_are_kept(self, tmp_path: Path) -> None:
        attributes = [{"gender": "female", "occluded": False}, {"occluded": True}]
        data = CocoDataset.from_json(cvat(tmp_path / "train.json", attributes, ("calm", "happy")))
        assert data.class_names == ("calm", "happy")
        assert [data.annotations(index).attributes for index in range(2)] == [{"gender": ("female",)}, {}]

    def test_a_validation_file_with_one_of_the_classes(self, tmp_path: Path) -> None:
        path = cvat(tmp_path / "val.json", [{"gender": "female"}], ("calm",))
        data = CocoDataset.from_json(path, class_names=["happy", "calm"])
        assert data.annotations(0).labels.tolist() == [1]
        data = CocoDataset.from_json(cvat(path, CHECKED, ("calm",)), class_names=["happy", "calm"])
        assert data.source.endswith(", without the check boxes happy, sad")


@pytest.mark.parametrize("multi_label", [False, True])
def test_attributes_that_are_no_labels(multi_label: bool, tmp_path: Path) -> None:
    path = cvat(tmp_path / "train.json", [{"level": 3, "occluded": False}])
    with pytest.raises(
        ValueError, match="the only category is 'person', and of its attributes, level, none is a check"
    ):
        CocoDataset.from_json(path, multi_label=multi_label)
    only_tools = CocoDataset.from_json(cvat(path, [{"occluded": False, "rotation": 0.0}]), multi_label=multi_label)
    assert only_tools.class_names == ("person",)


def test_several_labels_of_people_of_whom_only_the_age_is_known(tmp_path: Path) -> None:
    path = cvat(tmp_path / "train.json", [{"age": "adult", "occluded": False}])
    with pytest.raises(ValueError, match="'person', and none of its attributes, age, says what a person feels"):
        CocoDataset.from_json(path, multi_label=True)
    assert CocoDataset.from_json(path).class_names == ("person",)


@pytest.mark.parametrize(
    ("angle", "box"),
    [
        (90.0, [250, 50, 350, 250]), (270, [250, 50, 350, 250]), (-90, [250, 50, 350, 250]),
        (180.0, [200, 100, 400, 200]), (45.0, [193.934, 43.934, 406.066, 256.066]),
    ],
)  # fmt: skip
def test_turned_box(angle: float, box: list[float], tmp_path: Path) -> None:
    path = cvat(tmp_path / "train.json", [{"occluded": False, "rotation": angle}], ("calm", "happy"))
    data = CocoDataset.from_json(path)
    np.testing.assert_allclose(data.annotations(0).boxes, [box], atol=1e-3)
    assert data.mended == {"turned box": 1}


@pytest.mark.parametrize("angle", [0, 0.0, 360.0, "x", None, float("nan"), 10**400])
def test_box_that_is_not_turned(angle: Any, tmp_path: Path) -> None:
    data = CocoDataset.from_json(cvat(tmp_path / "train.json", [{"rotation": angle}], ("calm", "happy")))
    assert (data.annotations(0).boxes.tolist(), data.mended) == ([[200, 100, 400, 200]], {})
