"""Data folders as people have them on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data import AnnotatedDataset, CaerSDataset, CocoDataset, EmoticDataset, open_split
from dsct.data.folders import DataFolder
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_emotic_json,
    write_mat,
)

PEOPLE = [record("mscoco/images/a.png", [[1, 2, 30, 40]], emotic_labels(["Fear"]), (64, 48))]
OTHER_PEOPLE = [record("mscoco/images/a.png", [[1, 2, 30, 40]], emotic_labels(["Pain"]), (64, 48))]
FACES = [
    record(f"train/{name}/{number}.png", [[1, 2, 30, 40]], [label], (64, 48))
    for label, name in enumerate(CAER_S_CLASSES)
    for number in range(7)
]
OWN = [record(f"{number}.png", [[1, 2, 30, 40]], [number % 2], (64, 48)) for number in range(14)]
CLASSES = ["calm", "happy"]


def paths(data: AnnotatedDataset) -> set[str]:
    return {str(data.annotations(index).image_path) for index in range(len(data))}


def felt(data: AnnotatedDataset) -> list[str]:
    return [data.class_names[number] for number in np.flatnonzero(data.annotations(0).labels[0])]


class TestEmotic:
    @pytest.mark.parametrize("images", ["", "images", "emotic"])
    @pytest.mark.parametrize("place", ["", "annotations"])
    @pytest.mark.parametrize(
        "name", ["emotic_val_bi.json", "Annotations.mat", "CVPR17_Annotations.mat", "val.csv", "annots_val.csv"]
    )
    def test_every_layout(self, name: str, place: str, images: str, tmp_path: Path) -> None:
        save_images(PEOPLE, tmp_path / images)
        (tmp_path / place).mkdir(exist_ok=True)
        path = tmp_path / place / name
        if path.suffix == ".mat":
            write_mat(path, {"val": PEOPLE})
        else:
            (write_emotic_json if path.suffix == ".json" else write_emotic_csv)(path, PEOPLE)
        data = open_split("emotic", tmp_path, "val")
        assert isinstance(data, EmoticDataset)
        assert (len(data), data.split, data.class_names) == (1, "val", EMOTIC_CLASSES)
        assert data[0][0].size == (64, 48)
        assert data.source.startswith(f"{name}, ")

    def test_the_json_comes_first_and_the_others_are_named(self, tmp_path: Path) -> None:
        save_images(PEOPLE, tmp_path)
        write_emotic_json(tmp_path / "emotic_train_bi.json", PEOPLE)
        write_emotic_csv(tmp_path / "annotations/train.csv", OTHER_PEOPLE)
        data = open_split("emotic", str(tmp_path), "train")
        assert felt(data) == ["Fear"]
        assert data.source.endswith("(also there, not read: annotations/train.csv)")

    @pytest.mark.parametrize("absolute", [False, True])
    def test_annotations_can_be_chosen(self, absolute: bool, tmp_path: Path) -> None:
        save_images(PEOPLE, tmp_path)
        write_emotic_json(tmp_path / "emotic_train_bi.json", PEOPLE)
        path = write_emotic_csv(tmp_path / "annotations/train.csv", OTHER_PEOPLE)
        chosen = path if absolute else "annotations/train.csv"
        data = open_split("emotic", tmp_path, "train", annotations=chosen)
        assert felt(data) == ["Pain"]
        assert data.source == "train.csv, body boxes, combined labels"

    def test_labels_of_the_mat_file(self, tmp_path: Path) -> None:
        save_images(PEOPLE, tmp_path)
        write_mat(tmp_path / "Annotations.mat", {"val": PEOPLE}, whim="Peace")
        assert felt(open_split("emotic", tmp_path, "val")) == ["Fear"]
        assert felt(open_split("emotic", tmp_path, "val", labels="union")) == ["Fear", "Peace"]
        write_emotic_json(tmp_path / "emotic_val_bi.json", PEOPLE)
        with pytest.raises(ValueError, match=r"labels can be chosen for Annotations.mat only, .*emotic_val_bi.json"):
            open_split("emotic", tmp_path, "val", labels="combined")


class TestCaerS:
    @pytest.mark.parametrize("images", ["", "images", "CAER-S"])
    @pytest.mark.parametrize("name", ["{}.txt", "caer_{}.json", "annotations/{}.txt"])
    def test_every_layout(self, name: str, images: str, tmp_path: Path) -> None:
        tests = [record(str(one.image_path).replace("train", "test"), one.boxes, one.labels, one.size) for one in FACES]
        save_images([*FACES, *tests], tmp_path / images)
        (tmp_path / "annotations").mkdir()
        for split, records in (("train", FACES), ("test", tests)):
            if name.endswith("json"):
                write_coco_json(tmp_path / name.format(split), records, CAER_S_CLASSES)
            else:
                write_caer_s_text(tmp_path / name.format(split), records)
        train, val, test = (open_split("caer-s", tmp_path, split) for split in ("train", "val", "test"))
        assert (len(train), len(val), len(test)) == (42, 7, 49)
        assert not paths(train) & paths(val)
        assert isinstance(val, CaerSDataset)
        assert (train.split, val.split, test.split) == ("train", "val", "test")
        assert len(open_split("caer-s", tmp_path, "val", val_fraction=3 / 7)) == 21


class TestOwnData:
    @pytest.mark.parametrize("images", ["", "images", "train"])
    @pytest.mark.parametrize(
        "name", ["train.json", "instances_train.json", "annotations/train.csv", "annotations.json"]
    )
    def test_validation_data_is_cut_where_there_is_none(self, name: str, images: str, tmp_path: Path) -> None:
        save_images(OWN, tmp_path / images)
        (write_csv if name.endswith("csv") else write_coco_json)(tmp_path / name, OWN, CLASSES)
        train, val = open_split("coco", tmp_path, "train"), open_split("coco", tmp_path, "val")
        assert isinstance(train, CocoDataset)
        assert (len(train), len(val), len(paths(train) | paths(val))) == (12, 2, 14)
        with pytest.raises(FileNotFoundError, match=r"no annotations of coco, split 'test'; looked for test\.json"):
            open_split("coco", tmp_path, "test")
        with pytest.raises(ValueError, match="val_fraction must be above 0 to cut validation data"):
            open_split("coco", tmp_path, "val", val_fraction=0)

    def test_validation_file(self, tmp_path: Path) -> None:
        save_images(OWN, tmp_path)
        write_csv(tmp_path / "train.csv", OWN[:10], CLASSES)
        write_coco_json(tmp_path / "instances_val.json", OWN[10:], CLASSES)
        train, val = open_split("coco", tmp_path, "train"), open_split("coco", tmp_path, "val")
        assert (len(train), len(val), paths(train) & paths(val)) == (10, 4, set())

    def test_numbers_mean_the_same_in_every_split(self, tmp_path: Path) -> None:
        """A validation file may lack the first class of the training file."""
        save_images(OWN, tmp_path)
        write_csv(tmp_path / "train.csv", OWN[:10], CLASSES)
        write_csv(tmp_path / "val.csv", OWN[11:12], CLASSES)
        val = open_split("coco", tmp_path, "val")
        assert val.class_names == ("calm", "happy")
        assert val.annotations(0).labels.tolist() == [1]

    def test_chosen_file_is_cut_unless_its_name_says_what_it_holds(self, tmp_path: Path) -> None:
        save_images(OWN, tmp_path)
        for name in ("all.csv", "my_val.csv"):
            write_csv(tmp_path / name, OWN, CLASSES)
        train, val = (open_split("coco", tmp_path, split, annotations="all.csv") for split in ("train", "val"))
        assert (len(train), len(val), len(paths(train) | paths(val))) == (12, 2, 14)
        assert len(open_split("coco", tmp_path, "test", annotations="all.csv")) == 14
        assert len(open_split("coco", tmp_path, "val", annotations="my_val.csv")) == 14
        assert len(open_split("coco", tmp_path, "train", annotations="all.csv", val_fraction=0)) == 14

    def test_options_arrive(self, tmp_path: Path) -> None:
        save_images(OWN, tmp_path)
        write_coco_json(tmp_path / "test.json", OWN, CLASSES)
        data = open_split(
            "coco",
            tmp_path,
            "test",
            class_names=["happy", "calm"],
            multi_label=True,
            transforms=lambda *both: both[::-1],
        )
        assert data.annotations(0).labels.tolist() == [[0, 1]]
        assert data[0][0]["image_id"] == "0.png"


class TestSeveralSplits:
    def test_are_those_that_are_opened_alone(self, tmp_path: Path) -> None:
        save_images(OWN, tmp_path)
        write_csv(tmp_path / "all.csv", OWN, CLASSES)
        folder = DataFolder("coco", tmp_path, annotations="all.csv", val_fraction=0.5, seed=3)
        for split in ("train", "val"):
            alone = open_split("coco", tmp_path, split, annotations="all.csv", val_fraction=0.5, seed=3)
            opened = folder.open(split)
            assert paths(opened) == paths(alone)
            assert (opened.split, opened.class_names, opened.source) == (split, alone.class_names, alone.source)

    @pytest.mark.parametrize("name", ["Annotations.mat", "people.json"])
    def test_need_the_annotation_file_once(self, name: str, tmp_path: Path) -> None:
        save_images(PEOPLE, tmp_path)
        path = tmp_path / name
        if path.suffix == ".mat":
            write_mat(path, {"train": PEOPLE, "val": OTHER_PEOPLE})
        else:
            write_emotic_json(path, PEOPLE)
        folder = DataFolder("emotic", tmp_path, annotations=name)
        assert felt(folder.open("train")) == ["Fear"]
        path.unlink()
        assert felt(folder.open("val")) == (["Pain"] if path.suffix == ".mat" else ["Fear"])
        with pytest.raises(FileNotFoundError):
            open_split("emotic", tmp_path, "val", annotations=name)


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("emotik", "train"), "name must be one of emotic, caer-s, coco, got 'emotik'"),
            (("emotic", "exam"), "split must be one of train, val, test, got 'exam'"),
        ],
    )
    def test_unknown_name_or_split(self, arguments: tuple[str, str], message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=message):
            open_split(arguments[0], tmp_path, arguments[1])

    def test_several_labels_of_a_data_set_that_has_one(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="multi_label is for 'emotic' and 'coco'"):
            open_split("caer-s", tmp_path, "train", multi_label=True)

    @pytest.mark.parametrize("names", [["a", " "], ["a", "a"], "a"])
    def test_class_names(self, names: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="class_names must be"):
            open_split("coco", tmp_path, "train", class_names=names)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere, where a data set should be"):
            open_split("coco", tmp_path / "nowhere", "train")

    @pytest.mark.parametrize(
        ("name", "looked_for"),
        [
            (
                "emotic",
                "emotic_val_bi.json, Annotations.mat, CVPR17_Annotations.mat, val.csv, annots_val.csv, .*, "
                "annots_arrs/annot_arrs_val.csv",
            ),
            ("caer-s", "train.txt, caer_train.json"),
            ("coco", "val.json, instances_val.json, .*, val.csv, .*, _annotations.coco.json, .*, _annotations.csv"),
        ],
    )
    def test_folder_without_annotations(self, name: str, looked_for: str, tmp_path: Path) -> None:
        with pytest.raises(
            FileNotFoundError, match=f"no annotations of {name}, split 'val'; looked for {looked_for} in"
        ):
            open_split(name, tmp_path, "val")

    def test_no_images(self, tmp_path: Path) -> None:
        write_emotic_json(tmp_path / "emotic_val_bi.json", PEOPLE)
        with pytest.raises(ValueError, match="no image is left of 1; missing image: 1"):
            open_split("emotic", tmp_path, "val")

    def test_one_image_is_too_few_to_cut_validation_data_from(self, tmp_path: Path) -> None:
        save_images(OWN[:1], tmp_path)
        write_csv(tmp_path / "train.csv", OWN[:1], CLASSES)
        assert len(open_split("coco", tmp_path, "train")) == 1
        with pytest.raises(ValueError, match=r"train.csv: 1 image is too few to cut .*; add images, or .* val.csv"):
            open_split("coco", tmp_path, "val")
