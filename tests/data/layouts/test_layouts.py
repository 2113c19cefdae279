"""Data folders as annotation tools and people lay them out, opened without naming a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsct.data import AnnotatedDataset, Annotations, CocoDataset, open_split
from dsct.data.annotation_files.splits import of_split, split_from_name
from dsct.data.folders import DataFolder, recognise
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_emotic_json,
    write_rows,
)

CLASSES = ["calm", "happy"]
BOX = [[1, 2, 30, 40]]


def people(prefix: str, count: int) -> list[Annotations]:
    return [record(f"{prefix}{number}.png", BOX, [number % 2], (64, 48)) for number in range(count)]


TRAIN, VAL = people("t", 8), people("v", 4)


def write(path: Path, records: list[Annotations], images: Path) -> None:
    (write_csv if path.suffix == ".csv" else write_coco_json)(path, records, CLASSES)
    save_images(records, images)


def names(data: AnnotatedDataset) -> list[str]:
    paths = [data.annotations(index).image_path for index in range(len(data))]
    assert all(path is not None and path.is_file() for path in paths)
    return [path.name for path in paths if path is not None]


@pytest.mark.parametrize(
    ("train", "val", "images"),
    [
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json", ("train2017", "val2017")),
        ("annotations/instances_train2014.json", "annotations/instances_val2014.json", ("train2014", "val2014")),
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json", ("images/train2017",) * 2),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json", ("train", "valid")),
        ("train/labels.json", "validation/labels.json", ("train/data", "validation/data")),
        ("train/annotations/instances_default.json", "val/annotations/instances_default.json",
         ("train/images/default", "val/images/default")),
        ("annotations/instances_train.json", "annotations/instances_validation.json",
         ("images/train", "images/validation")),
        ("annotations/instances_Train.json", "annotations/instances_Validation.json",
         ("images/Train", "images/Validation")),
        ("Train/_annotations.csv", "Valid/_annotations.csv", ("Train", "Valid")),
        ("train.json", "valid.json", ("images", "images")),
        ("train.json", "dev.json", ("train", "dev")),
        ("training.csv", "validation.csv", ("data", "data")),
        ("train/annotations.csv", "dev/annotations.csv", ("train", "dev")),
        ("train/_annotations.csv", "valid/_annotations.csv", ("train/images", "valid/images")),
        ("train/train.csv", "val/val.csv", ("train", "val")),
        ("annotations/train.json", "annotations/valid.csv", ("train", "valid")),
        ("annotations/train/instances_default.json", "annotations/val/instances_default.json", ("images",) * 2),
    ],
)  # fmt: skip
class TestBothSplits:
    def test_are_found(self, train: str, val: str, images: tuple[str, str], tmp_path: Path) -> None:
        write(tmp_path / train, TRAIN, tmp_path / images[0])
        write(tmp_path / val, VAL, tmp_path / images[1])
        assert recognise(tmp_path) == "coco"
        opened = [open_split("coco", tmp_path, split) for split in ("train", "val")]
        assert [names(data) for data in opened] == [[one.image_path.name for one in some if one.image_path]
                                                    for some in (TRAIN, VAL)]  # fmt: skip
        assert [data.split for data in opened] == ["train", "val"]
        assert all(data.class_names == tuple(CLASSES) and not data.skipped and not data.mended for data in opened)

    @pytest.mark.parametrize("absolute", [False, True])
    def test_are_found_from_the_training_file(
        self, absolute: bool, train: str, val: str, images: tuple[str, str], tmp_path: Path
    ) -> None:
        write(tmp_path / train, TRAIN, tmp_path / images[0])
        write(tmp_path / val, VAL, tmp_path / images[1])
        data = DataFolder("coco", tmp_path, annotations=tmp_path / train if absolute else train)
        cut = Path(train).suffix != Path(val).suffix  # a file of another kind is not beside it
        assert (len(data.open("train")), len(data.open("val"))) == ((7, 1) if cut else (8, 4))

    def test_the_validation_file_is_whole(self, train: str, val: str, images: tuple[str, str], tmp_path: Path) -> None:
        write(tmp_path / val, VAL, tmp_path / images[1])
        assert names(open_split("coco", tmp_path, "val", annotations=val)) == ["v0.png", "v1.png", "v2.png", "v3.png"]


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("labels.json", "data"),
        ("result.json", "images"),
        ("annotations.json", "JPEGImages"),
        ("_annotations.coco.json", ""),
        ("_annotations.csv", ""),
        ("annotations.csv", "images"),
        ("train/_annotations.coco.json", "train"),
        ("train/labels.json", "train/data"),
    ],
)
def test_validation_data_is_cut_from_a_lone_file(file: str, images: str, tmp_path: Path) -> None:
    write(tmp_path / file, TRAIN, tmp_path / images)
    train, val = (names(open_split("coco", tmp_path, split)) for split in ("train", "val"))
    assert (len(train), len(val), len({*train, *val})) == (7, 1, 8)
    assert recognise(tmp_path) == "coco"


class TestImagesOfAnotherSplit:
    """The same names often occur in several splits: never the images of another one."""

    @pytest.mark.parametrize("name", ["a.png", "val/a.png", "valid/a.png", "C:\\set\\val\\a.png"])
    def test_are_never_taken(self, name: str, tmp_path: Path) -> None:
        write(tmp_path / "train.json", people("a", 3), tmp_path / "train")
        save_images([record("a.png", BOX, [0], (64, 48))], tmp_path / "train")
        (tmp_path / "val").mkdir()
        write_coco_json(tmp_path / "val.json", [record(name, BOX, [0], (64, 48))], CLASSES)
        with pytest.raises(ValueError, match="no image is left of 1; missing image: 1"):
            open_split("coco", tmp_path, "val")

    def test_the_own_folder_wins(self, tmp_path: Path) -> None:
        for split in ("train", "valid"):
            write(tmp_path / split / "_annotations.coco.json", TRAIN, tmp_path / split)
        (tmp_path / "valid/t0.png").unlink()
        data = open_split("coco", tmp_path, "val")
        assert (data.image_root, data.skipped) == (tmp_path / "valid", {"missing image": 1})


@pytest.mark.parametrize("folder", ["test", "val", "train"])
def test_the_name_of_the_data_folder_says_nothing(folder: str, tmp_path: Path) -> None:
    write(tmp_path / folder / "labels.json", TRAIN, tmp_path / folder / "data")
    assert [len(open_split("coco", tmp_path / folder, split)) for split in ("train", "val")] == [7, 1]


def test_python_readers_look_in_the_same_places(tmp_path: Path) -> None:
    write(tmp_path / "valid/_annotations.coco.json", VAL, tmp_path / "valid")
    write(tmp_path / "valid.csv", VAL, tmp_path / "images/valid")
    for data in (
        CocoDataset.from_json(tmp_path / "valid/_annotations.coco.json", tmp_path),
        CocoDataset.from_csv(tmp_path / "valid.csv", tmp_path),
    ):
        assert (len(names(data)), data.split) == (4, "val")


@pytest.mark.parametrize("file", ["valid.json", "my_test.csv", "valid/_annotations.coco.json"])
def test_nobody_trains_on_a_validation_or_test_file(file: str, tmp_path: Path) -> None:
    write(tmp_path / file, VAL, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"by its name, and beside it there is no .* for 'train'"):
        open_split("coco", tmp_path, "train", annotations=file)


class TestEmotic:
    PEOPLE = (record("mscoco/images/a.png", BOX, emotic_labels(["Fear"]), (64, 48)),)

    def test_the_validation_file_beside_a_chosen_one(self, tmp_path: Path) -> None:
        save_images(self.PEOPLE, tmp_path)
        write_emotic_json(tmp_path / "emotic_train_bi.json", self.PEOPLE)
        data = DataFolder("emotic", tmp_path, annotations="emotic_train_bi.json")
        with pytest.raises(
            FileNotFoundError, match=r"holds the split 'train' .* there is no emotic_val_bi.json for 'val'"
        ):
            data.open("val")
        write_emotic_json(tmp_path / "emotic_val_bi.json", self.PEOPLE)
        assert data.open("val").source.startswith("emotic_val_bi.json")


class TestRecognised:
    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("annotations/emotic_train_bi.json", "emotic"), ("Annotations/Annotations.mat", "emotic"),
            ("test.txt", "caer-s"), ("caer_train.json", "caer-s"), ("instances_val.json", "coco"),
            ("annotations.csv", "coco"), ("valid/_annotations.coco.json", "coco"), ("labels.json", "coco"),
        ],
    )  # fmt: skip
    def test_by_the_names_of_the_files(self, file: str, name: str, tmp_path: Path) -> None:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
        assert recognise(tmp_path) == name

    @pytest.mark.parametrize("file", ["train.csv", "annotations/val.csv"])
    def test_a_csv_by_its_header(self, file: str, tmp_path: Path) -> None:
        write_csv(tmp_path / file, TRAIN, CLASSES)
        assert recognise(tmp_path) == "coco"
        write_emotic_csv(tmp_path / file, TestEmotic.PEOPLE)
        assert recognise(tmp_path) == "emotic"

    @pytest.mark.parametrize("file", ["annots_arrs/annot_arrs_train.csv", "annot_arrs_val.csv", "train.csv"])
    def test_emotic_with_arrays(self, file: str, tmp_path: Path) -> None:
        write_rows(tmp_path / file, ["Filename", "X_min", "Y_min", "X_max", "Y_max", "Affection"], [])
        assert recognise(tmp_path) == "emotic"

    def test_nothing_and_several(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no annotations; looked for emotic_\{split\}_bi\.json"):
            recognise(tmp_path)
        write_csv(tmp_path / "train.csv", TRAIN, CLASSES)
        write_emotic_csv(tmp_path / "val.csv", TestEmotic.PEOPLE)
        with pytest.raises(ValueError, match=r"choose --name emotic for val.csv, --name coco for train.csv"):
            recognise(tmp_path)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("valid.json", "val"), ("my_validation.csv", "val"), ("dev-2.json", "val"), ("instances_val2017.json", "val"),
        ("training.csv", "train"), ("testing.json", "test"), ("valid/_annotations.coco.json", "val"),
        ("dev/annotations/instances_default.json", "val"), ("val/people.json", "val"),
        ("valid/deep/people.json", "people"), ("trainval.json", "trainval"),
        ("train_val.json", "train_val"), ("device.csv", "device"), ("invalid.csv", "invalid"),
    ],
)  # fmt: skip
def test_split_of_a_name(path: str, split: str) -> None:
    assert split_from_name(Path(path)) == split


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("train/_annotations.csv", "valid/_annotations.csv"),
        ("a/train/annotations/labels.json", "a/dev/annotations/labels.json"),
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ("train/train.json", "val/val.json"),
        ("Train.csv", "val.csv"),
        ("people.json", None),
        ("val.json", None),
    ],
)
def test_the_file_of_another_split(path: str, expected: Any) -> None:
    found = of_split(Path(path), "val")
    assert (Path(expected) in found) if expected else not found
