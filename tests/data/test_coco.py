"""One's own data as COCO JSON or CSV."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsct
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data import AnnotatedDataset, Annotations, CocoDataset, SyntheticDataset
from dsct.data.coco import read_class_names
from tests.data.dataset_files import record, save_scenes, write_coco_json, write_csv, write_json, write_rows

COLUMNS = ["path", "x1", "y1", "x2", "y2", "label"]
IMAGE = {"id": 5, "file_name": "a.png", "width": 64, "height": 48}
CATEGORIES = [{"id": 30, "name": "happy"}, {"id": 7, "name": "calm"}, {"id": 12, "name": "cross"}]


def coco(folder: Path, *people: dict[str, Any], categories: Any = CATEGORIES) -> Path:
    annotations = [{"id": 0, "image_id": 5, "bbox": [1, 2, 3, 4], **person} for person in people]
    content = {"images": [IMAGE], "annotations": annotations, "categories": categories}
    return write_json(folder / "train.json", content)


def labels(data: AnnotatedDataset) -> Any:
    return data.annotations(0).labels.tolist()


def test_reached_from_the_package() -> None:
    assert dsct.data.coco.CocoDataset is CocoDataset


class TestJson:
    def test_classes_in_the_order_of_their_ids(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(coco(tmp_path, {"category_id": 30}, {"category_id": 7}))
        assert data.class_names == ("calm", "cross", "happy")
        assert labels(data) == [2, 0]
        assert data.annotations(0).boxes.tolist() == [[1, 2, 4, 6]] * 2
        assert (data.split, data.source) == ("train", "train.json, one label per person")

    def test_class_names_give_the_order(self, tmp_path: Path) -> None:
        path = coco(tmp_path, {"category_id": 30}, {"category_id": 7})
        assert labels(CocoDataset.from_json(path, class_names=["happy", "calm"])) == [0, 1]
        with pytest.raises(
            ValueError, match=r"annotations\[0\] \(id 0\): category 'happy' is none of the classes calm"
        ):
            CocoDataset.from_json(path, class_names=["calm"])

    def test_without_categories_ids_are_positions(self, tmp_path: Path) -> None:
        path = coco(tmp_path, {"category_id": 1}, categories=[])
        assert labels(CocoDataset.from_json(path, class_names=["calm", "happy"])) == [1]
        with pytest.raises(ValueError, match=r"train.json: there are no categories, so class_names must be given"):
            CocoDataset.from_json(path)

    def test_several_labels_in_every_form(self, tmp_path: Path) -> None:
        people = (
            {"category_ids": [30, 7]},
            {"category_id": 7, "category_ids": [12]},
            {"attributes": ["happy", 12]},
            {"category_id": 7, "attributes": {"occluded": False}},
            {"category_id": 30},
        )
        data = CocoDataset.from_json(coco(tmp_path, *people), multi_label=True)
        assert labels(data) == [[1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]]

    def test_person_without_labels(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(coco(tmp_path, {"category_ids": []}, {"category_ids": [7]}), multi_label=True)
        assert labels(data) == [[1, 0, 0]]
        assert data.skipped == {"person without labels": 1}

    def test_crowds_are_left_out(self, tmp_path: Path) -> None:
        data = CocoDataset.from_json(coco(tmp_path, {"category_id": 7, "iscrowd": 1}, {"category_id": 12}))
        assert labels(data) == [1]
        assert data.skipped == {"crowd": 1}

    def test_image_with_only_a_crowd_is_not_an_empty_image(self, tmp_path: Path) -> None:
        path = coco(tmp_path, {"category_id": 7, "iscrowd": 1})
        with pytest.raises(ValueError, match="no image is left of 1; crowd: 1, image without usable person: 1"):
            CocoDataset.from_json(path)

    def test_image_without_people_is_kept(self, tmp_path: Path) -> None:
        assert CocoDataset.from_json(coco(tmp_path)).annotations(0).boxes.shape == (0, 4)
        assert CocoDataset.from_json(coco(tmp_path), multi_label=True).annotations(0).labels.shape == (0, 3)

    @pytest.mark.parametrize(
        ("person", "multi_label", "message"),
        [
            ({"category_id": 8}, False, "category must be one of the ids 7, 12, 30, got 8"),
            ({}, False, "category must be one of the ids 7, 12, 30, got None"),
            ({"category_id": "happy"}, False, "category must be one of the ids"),
            ({"category_ids": 7}, True, "category_ids must be a list, got 7"),
            ({"category_ids": [[7]]}, True, r"category must be one of the ids .* got \[7\]"),
        ],
    )
    def test_bad_labels_name_the_annotation(
        self, person: dict[str, Any], multi_label: bool, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=rf"train.json: .*the first: annotations\[0\] \(id 0\): {message}"):
            CocoDataset.from_json(coco(tmp_path, person), multi_label=multi_label)
        data = CocoDataset.from_json(coco(tmp_path, {"category_id": 7}, person), multi_label=multi_label)
        assert data.skipped == {"unknown category": 1}

    @pytest.mark.parametrize(
        ("person", "multi_label", "message"),
        [
            ({"category_ids": [7]}, False, "category_ids is for several labels .* multi_label=True"),
            ({"attributes": ["sad"]}, True, "category 'sad' is none of the classes calm, cross, happy"),
        ],
    )
    def test_labels_of_another_form_are_refused(
        self, person: dict[str, Any], multi_label: bool, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=rf"train.json: annotations\[1\] \(id 0\): {message}"):
            CocoDataset.from_json(coco(tmp_path, {"category_id": 7}, person), multi_label=multi_label)

    @pytest.mark.parametrize(
        ("categories", "message"),
        [
            ({}, "categories must be a list of objects"),
            ([3], r"categories\[0\] must have an integer id and a name that is not blank, got 3"),
            ([{"id": "a", "name": "calm"}], r"categories\[0\] must have an integer id"),
            ([*CATEGORIES, {"id": 8, "name": " "}], r"categories\[3\] must have .* a name that is not blank"),
            ([*CATEGORIES, {"id": 7, "name": "sad"}], r"categories\[3\]: id 7 or name 'sad' occurs twice"),
            ([*CATEGORIES, {"id": 8, "name": "calm"}], r"categories\[3\]: id 8 or name 'calm' occurs twice"),
        ],
    )
    def test_bad_categories(self, categories: Any, message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=rf"train.json: {message}"):
            CocoDataset.from_json(coco(tmp_path, categories=categories))


class TestCsv:
    def table(self, folder: Path, *rows: str) -> Path:
        return write_rows(folder / "train.csv", COLUMNS, [row.split(",") for row in rows])

    def test_rows(self, tmp_path: Path) -> None:
        data = CocoDataset.from_csv(
            self.table(tmp_path, "a.png,1,2,30.5,40,calm", "b.png,1,2,3,4,happy", "a.png,0,0,9,9,happy")
        )
        assert data.class_names == ("calm", "happy")
        assert data.annotations(0).boxes.tolist() == [[1, 2, 30.5, 40], [0, 0, 9, 9]]
        assert labels(data) == [0, 1]
        assert data.annotations(0).size == (31, 40), "a guess that holds the boxes"
        assert data.source == "train.csv, one label per person, image sizes guessed"

    def test_columns_in_any_order_and_more_of_them(self, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_bytes(b"\xef\xbb\xbflabel,age,path, x1,y1,x2,y2\r\ncalm,30,a.png,1,2,3,4\r\n")
        data = CocoDataset.from_csv(path)
        assert data.annotations(0).boxes.tolist() == [[1, 2, 3, 4]]
        assert "without the columns age" in data.source

    def test_box_beyond_float32(self, tmp_path: Path) -> None:
        data = CocoDataset.from_csv(self.table(tmp_path, "a.png,1,2,1e39,4,calm", "a.png,1,2,3,4,calm"))
        assert data.annotations(0).boxes.tolist() == [[1, 2, 3, 4]]
        assert data.skipped == {"degenerate box": 1}

    def test_several_labels(self, tmp_path: Path) -> None:
        path = self.table(tmp_path, "a.png,1,2,3,4,happy|calm", "a.png,1,2,3,4,sad", "a.png,1,2,3,4,")
        data = CocoDataset.from_csv(path, multi_label=True)
        assert labels(data) == [[1, 1, 0], [0, 0, 1]]
        assert data.skipped == {"person without labels": 1}

    def test_class_names_give_the_order(self, tmp_path: Path) -> None:
        path = self.table(tmp_path, "a.png,1,2,3,4,calm")
        assert labels(CocoDataset.from_csv(path, class_names=["sad", "calm"])) == [1]
        with pytest.raises(ValueError, match=r"train.csv, line 2: label 'calm' is none of the classes sad"):
            CocoDataset.from_csv(path, class_names=["sad"])

    def test_row_with_only_a_path_is_an_image_without_people(self, tmp_path: Path) -> None:
        data = CocoDataset.from_csv(self.table(tmp_path, "a.png,,,,,", "b.png,1,2,3,4,calm"))
        assert len(data.annotations(0)) == 0
        assert len(data.annotations(1)) == 1

    @pytest.mark.parametrize(
        ("row", "multi_label", "message"),
        [
            ("a.png,1,2,3,x,calm", False, "x1, y1, x2, y2 must be numbers, got 1, 2, 3, x"),
            ("a.png,1,2,,4,calm", False, "x1, y1, x2, y2 must be numbers"),
            (",1,2,3,4,calm", False, "path must not be empty"),
            ("a.png,1,2,3,4,calm||sad", True, "label 'calm||sad' must name classes"),
            ("a.png,1,2,3,4, | ", False, "label '|' must name classes"),
            ("a.png,1,2,3", False, "a row must have 6 cells like the header, got 4"),
        ],
    )
    def test_bad_row_is_left_out_and_named(self, row: str, multi_label: bool, message: str, tmp_path: Path) -> None:
        data = CocoDataset.from_csv(self.table(tmp_path, "a.png,1,2,3,4,calm", row), multi_label=multi_label)
        assert (data.skipped, data.class_names[0]) == ({"malformed row": 1}, "calm")
        assert data.examples["malformed row"][0].startswith(f"line 3: {message}")
        path = self.table(tmp_path, row)
        with pytest.raises(ValueError, match=r"train.csv: no row can be used, the first: line 2: ") as error:
            CocoDataset.from_csv(path, multi_label=multi_label)
        assert message in str(error.value)

    def test_several_labels_need_multi_label(self, tmp_path: Path) -> None:
        path = self.table(tmp_path, "a.png,1,2,3,4,calm|sad")
        with pytest.raises(ValueError, match=r"line 2: label 'calm\|sad' names several classes, .* \(--multi-label\)"):
            CocoDataset.from_csv(path)

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_other_separators(self, separator: str, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_text("path,x1,y1,x2,y2,label\na.png,1,2,3,4,calm\n".replace(",", separator))
        assert CocoDataset.from_csv(path).annotations(0).boxes.tolist() == [[1, 2, 3, 4]]

    @pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
    def test_text_of_another_encoding_names_the_file(self, encoding: str, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_bytes("path,x1,y1,x2,y2,label\na.png,1,2,3,4,f\xe2ch\xe9\n".encode(encoding))
        with pytest.raises(ValueError, match=r"train.csv: the text must be UTF-8"):
            CocoDataset.from_csv(path)

    def test_a_column_that_is_there_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_text("path,x1,y1,x2,y2,label,label\na.png,1,2,3,4,calm,sad\n")
        with pytest.raises(ValueError, match=r"different names, label occurs twice"):
            CocoDataset.from_csv(path)

    def test_absent_column(self, tmp_path: Path) -> None:
        path = write_rows(tmp_path / "train.csv", COLUMNS[:-1], [])
        with pytest.raises(ValueError, match=r"train.csv, line 1: .*label is missing"):
            CocoDataset.from_csv(path)


@pytest.mark.parametrize("multi_label", [False, True])
def test_scenes_are_the_same_from_json_and_csv(multi_label: bool, tmp_path: Path) -> None:
    scenes = SyntheticDataset(size=6, multi_label=multi_label, image_size=(64, 48))
    records = save_scenes(scenes, tmp_path, lambda index, _: f"images/{index}.png")
    names = EMOTIC_CLASSES if multi_label else CAER_S_CLASSES
    from_json = CocoDataset.from_json(
        write_coco_json(tmp_path / "train.json", records, names), tmp_path, multi_label=multi_label
    )
    from_csv = CocoDataset.from_csv(
        write_csv(tmp_path / "train.csv", records, names), tmp_path, multi_label=multi_label, class_names=names
    )
    assert from_json.class_names == from_csv.class_names == names
    for data in (from_json, from_csv):
        for index, expected in enumerate(records):
            image, target = data[index]
            np.testing.assert_array_equal(np.asarray(image), scenes[index][0].permute(1, 2, 0).numpy())
            np.testing.assert_array_equal(target["boxes"], expected.boxes)
            np.testing.assert_array_equal(target["labels"], expected.labels)


def test_class_names_of_files(tmp_path: Path) -> None:
    assert read_class_names(coco(tmp_path)) == ("calm", "cross", "happy")
    path = write_rows(tmp_path / "a.csv", COLUMNS, [["a.png", 1, 2, 3, 4, "sad|calm"], ["a.png", 1, 2, 3, 4, "happy"]])
    assert read_class_names(path) == ("calm", "happy", "sad")


class TestValidationData:
    records: tuple[Annotations, ...] = tuple(record(f"{i}.png", [[1, 1, 9, 9]], [i % 2]) for i in range(40))

    def parts(self, folder: Path, records: Any) -> tuple[set[str], set[str]]:
        path = write_csv(folder / "all.csv", records, ["calm", "happy"])
        train, val = (CocoDataset.from_csv(path, split=split, val_fraction=0.25) for split in ("train", "val"))
        assert np.mean([labels for i in range(len(val)) for labels in val.annotations(i).labels]) == 0.5
        return tuple({str(data.annotations(i).image_path) for i in range(len(data))} for data in (train, val))

    def test_disjoint_complete_and_independent_of_order(self, tmp_path: Path) -> None:
        train, val = self.parts(tmp_path, self.records)
        assert (len(train), len(val), len(train | val)) == (30, 10, 40)
        assert self.parts(tmp_path, random.Random(1).sample(self.records, 40)) == (train, val)

    def test_only_training_and_validation_are_cut(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "all.csv", self.records, ["calm", "happy"])
        assert len(CocoDataset.from_csv(path, split="train")) == 40
        with pytest.raises(ValueError, match=r"split must be 'train' or 'val' to cut validation data .* got 'all'"):
            CocoDataset.from_csv(path, val_fraction=0.25)


def test_an_image_that_is_listed_twice_has_everybody(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": "a.png", "width": 64, "height": 48} for number in (1, 2)]
    people = [{"id": n, "image_id": image, "category_id": 1, "bbox": [x, 2, 10, 20]}
              for n, (image, x) in enumerate([(1, 1), (2, 1), (2, 30)])]  # fmt: skip
    content = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "calm"}]}
    data = CocoDataset.from_json(write_json(tmp_path / "train.json", content))
    assert len(data) == 1
    assert data.annotations(0).boxes.tolist() == [[1, 2, 11, 22], [30, 2, 40, 22]]
    assert data.mended == {"image listed twice": 1}
