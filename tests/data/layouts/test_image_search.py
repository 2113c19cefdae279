"""Images under paths from other computers, missing ones, and photographs that EXIF turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dsct.data import AnnotatedDataset, CaerSDataset, CocoDataset, EmoticDataset, open_split
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_json,
    write_rows,
)

BOX = [[5, 6, 30, 40]]
COLUMNS = ["path", "x1", "y1", "x2", "y2", "label"]


def own_csv(folder: Path, names: list[str]) -> AnnotatedDataset:
    write_rows(folder / "train.csv", COLUMNS, [[name, *BOX[0], "calm"] for name in names])
    return open_split("coco", folder, "train", val_fraction=0, annotations="train.csv")


def own_json(folder: Path, names: list[str]) -> AnnotatedDataset:
    write_coco_json(folder / "train.json", [record(name, BOX, [0], (64, 48)) for name in names], ["calm"])
    return open_split("coco", folder, "train", val_fraction=0, annotations="train.json")


def from_json(folder: Path, names: list[str]) -> AnnotatedDataset:
    records = [record(name, BOX, [0], (64, 48)) for name in names]
    return CocoDataset.from_json(write_coco_json(folder / "people.json", records, ["calm"]), folder)


def from_csv(folder: Path, names: list[str]) -> AnnotatedDataset:
    records = [record(name, BOX, [0], (64, 48)) for name in names]
    return CocoDataset.from_csv(write_csv(folder / "people.csv", records, ["calm"]), folder)


def emotic(folder: Path, names: list[str]) -> AnnotatedDataset:
    records = [record(name, BOX, emotic_labels(["Fear"]), (64, 48)) for name in names]
    return EmoticDataset.from_coco_json(write_emotic_json(folder / "emotic_train_bi.json", records), folder)


def faces(folder: Path, names: list[str]) -> AnnotatedDataset:
    write_caer_s_text(folder / "train.txt", [record(name, BOX, [5], (64, 48)) for name in names])
    return CaerSDataset.from_text(folder / "train.txt", folder, val_fraction=0)


readers = pytest.mark.parametrize("read", [own_csv, own_json, from_json, from_csv, emotic, faces])
Read = Callable[[Path, list[str]], AnnotatedDataset]


def save(folder: Path, *names: str) -> None:
    save_images([record(name, [], [], (64, 48)) for name in names], folder)


@readers
class TestOtherPaths:
    @pytest.mark.parametrize("name", ["images\\sub\\a.png", ".\\images\\sub\\a.png"])
    def test_backslashes(self, read: Read, name: str, tmp_path: Path) -> None:
        save(tmp_path, "images/sub/a.png")
        data = read(tmp_path, [name])
        assert data[0][0].size == (64, 48)
        assert data.mended == {"backslashes in a path": 1}
        assert data.examples["backslashes in a path"] == (name,)

    @pytest.mark.parametrize(
        "prefix", ["C:\\data\\", "/home/somebody/set/", "../../", "file:///C:/data/", "/", "set/train/"]
    )
    def test_another_beginning(self, read: Read, prefix: str, tmp_path: Path) -> None:
        save(tmp_path, "images/a.png", "images/b.png")
        data = read(tmp_path, [f"{prefix}images/a.png", "images/b.png"])
        assert [data[index][0].size for index in range(2)] == [(64, 48)] * 2
        assert data.mended["path with another beginning"] == 1
        assert not data.skipped
        assert data.examples["path with another beginning"][0].endswith("images/a.png is images/a.png")

    @pytest.mark.parametrize("name", ["Images/A.PNG", "images/a.Png", "IMAGES\\a.png"])
    def test_another_case(self, read: Read, name: str, tmp_path: Path) -> None:
        save(tmp_path, "images/a.png")
        data = read(tmp_path, [name])
        assert data[0][0].size == (64, 48)
        if not (tmp_path / "IMAGES").is_dir():
            assert data.mended["path in another case"] == 1
        save(tmp_path, "images/A.png")
        assert read(tmp_path, ["images/a.png"]).mended == {}

    def test_an_end_that_two_images_share_is_not_guessed(self, read: Read, tmp_path: Path) -> None:
        save(tmp_path, "a.png", "b.png")
        data = read(tmp_path, ["one/a.png", "two/a.png", "b.png"])
        assert (len(data), data.skipped, data.mended) == (1, {"missing image": 2}, {})
        data = read(tmp_path, ["one/a.png", "a.png"])
        assert data.skipped == {"missing image": 1}

    def test_a_message_names_the_first_image_and_the_places(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        with pytest.raises(ValueError, match="no image is left of 2; missing image: 2") as error:
            read(tmp_path, ["nowhere/a.png", "b.png"])
        message = str(error.value)
        assert f"the first missing image, nowhere/a.png, was sought in {tmp_path}, {tmp_path / 'data'}" in message


def test_names_without_images_are_kept(tmp_path: Path) -> None:
    path = write_coco_json(tmp_path / "train.json", [record("C:\\x\\a.png", BOX, [0])], ["calm"])
    data = CocoDataset.from_json(path)
    assert data.annotations(0).image_path == Path("C:/x/a.png")
    assert data.mended == {"backslashes in a path": 1}


def test_both_kinds_of_slashes_are_one_image(tmp_path: Path) -> None:
    save(tmp_path, "images/a.png")
    data = own_csv(tmp_path, ["images\\a.png", "images/a.png"])
    assert (len(data), len(data.annotations(0))) == (1, 2)


def turned(path: Path, stored: tuple[int, int] = (64, 48)) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", stored).save(path, exif=exif)


class TestTurnedPhotograph:
    """Stored as 64 x 48, shown as 48 x 64."""

    UPRIGHT, STORED, EITHER = [5, 10, 40, 60], [5, 10, 60, 40], [5, 10, 30, 40]

    @pytest.mark.parametrize("boxes", [[UPRIGHT], [UPRIGHT, EITHER], []])
    def test_boxes_on_the_upright_image(self, boxes: list[list[float]], tmp_path: Path) -> None:
        turned(tmp_path / "a.png")
        path = write_coco_json(tmp_path / "train.json", [record("a.png", boxes, [0] * len(boxes), (64, 48))], ["calm"])
        data = CocoDataset.from_json(path, tmp_path)
        assert data[0][0].size == data.annotations(0).size == (48, 64)
        assert data.annotations(0).boxes.tolist() == boxes
        assert (data.mended, data.skipped) == ({"size of an image that EXIF turns": 1}, {})

    @pytest.mark.parametrize("box", [STORED, EITHER])
    def test_what_may_be_boxes_on_the_stored_image_is_said(self, box: list[float], tmp_path: Path) -> None:
        turned(tmp_path / "a.png")
        save(tmp_path, "b.png")
        records = [record(name, [box], [0], (64, 48)) for name in ("a.png", "b.png")]
        data = CocoDataset.from_json(write_coco_json(tmp_path / "train.json", records, ["calm"]), tmp_path)
        assert data.skipped == {"image that EXIF turns, annotated as stored": 1}
        assert data.examples["image that EXIF turns, annotated as stored"] == ("a.png",)

    @pytest.mark.parametrize(("box", "fits"), [(UPRIGHT, True), (EITHER, True), (STORED, False)])
    def test_a_csv_states_no_size(self, box: list[float], fits: bool, tmp_path: Path) -> None:
        turned(tmp_path / "a.png")
        save(tmp_path, "b.png")
        records = [record("a.png", [box], [0]), record("b.png", [[1, 2, 30, 40]], [0])]
        data = CocoDataset.from_csv(write_csv(tmp_path / "train.csv", records, ["calm"]), tmp_path)
        assert data.skipped == ({} if fits else {"image that EXIF turns, annotated as stored": 1})

    def test_a_size_that_is_not_stated(self, tmp_path: Path) -> None:
        turned(tmp_path / "a.png")
        path = tmp_path / "train.json"
        write_coco_json(path, [record("a.png", [self.UPRIGHT], [0], (64, 48))], ["calm"])
        path.write_text(path.read_text().replace('"width": 64', '"width": null'))
        data = CocoDataset.from_json(path, tmp_path)
        assert data.annotations(0).size == (48, 64)
        assert data.mended == {"size read from the image file": 1}

    def test_exchanged_sizes_without_exif_do_not_belong(self, tmp_path: Path) -> None:
        save(tmp_path, "b.png", "a.png")
        records = [record("a.png", [self.UPRIGHT], [0], (48, 64)), record("b.png", BOX, [0], (64, 48))]
        data = CocoDataset.from_json(write_coco_json(tmp_path / "train.json", records, ["calm"]), tmp_path)
        assert data.skipped == {"image of another size": 1}
