"""Images and labels of exports that would be lost, doubled or exchanged without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsct.data import open_split
from dsct.data.conversion import convert
from tests.data.annotation_tools.exports import save_image, write

YOLO_LINE = "0 0.5 0.5 0.2 0.5\n"


def cvat(folder: Path, *images: str) -> Path:
    return write(folder / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")


def image(name: str, *emotions: str, more: str = "") -> str:
    box = '<box label="person" xtl="10" ytl="20" xbr="50" ybr="80"><attribute name="emotion">{}</attribute></box>'
    return f'<image name="{name}" width="200" height="100" {more}>{"".join(map(box.format, emotions))}</image>'


def yolo(folder: Path, train: str, *names: str, more: str = "") -> None:
    for name in names:
        save_image(folder / f"images/{name}.png")
        write(folder / f"labels/{name}.txt", YOLO_LINE)
    write(folder / "data.yaml", f"names: [calm, sad]\ntrain: {train}\n{more}")


def test_boxes_at_one_place_keep_all_that_is_said(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    cvat(tmp_path, image("a.png", "happy", "sad", "happy"))
    data = open_split("coco", tmp_path, "train", multi_label=True, val_fraction=0)
    assert (data.class_names, data.annotations(0).labels.tolist()) == (("happy", "sad"), [[1, 1]])
    with pytest.raises(ValueError, match="a person has the labels happy, sad"):
        open_split("coco", tmp_path, "train", val_fraction=0)


def test_images_that_name_no_split_beside_others_are_counted(tmp_path: Path) -> None:
    for name in "abc":
        save_image(tmp_path / f"{name}.png")
    cvat(
        tmp_path,
        image("a.png", "calm", more='subset="Train"'),
        image("b.png", "calm", more='subset="Validation"'),
        image("c.png", "calm", more='subset="default"'),
    )
    train, val = (open_split("coco", tmp_path, split) for split in ("train", "val"))
    assert (len(train), train.skipped, train.examples) == (
        1, {"image that names no split": 1}, {"image that names no split": ("c.png",)}
    )  # fmt: skip
    assert (len(val), val.skipped) == (1, {})


def test_images_of_one_name_in_several_folders_are_not_taken_for_one(tmp_path: Path) -> None:
    save_image(tmp_path / "x.png")
    save_image(tmp_path / "y.png")
    cvat(tmp_path, image("one/x.png", "calm"), image("two/x.png", "sad"), image("two/y.png", "sad"))
    data = open_split("coco", tmp_path, "train", val_fraction=0)
    assert (len(data), data.skipped, data.mended) == (1, {"missing image": 2}, {"path with another beginning": 1})


def test_validation_never_reads_the_training_image_of_the_same_name(tmp_path: Path) -> None:
    for name in ("train/x.png", "train/y.png"):
        save_image(tmp_path / name)
    cvat(
        tmp_path,
        image("train/x.png", "calm", more='subset="Train"'),
        image("val/x.png", "sad", more='subset="Validation"'),
    )
    with pytest.raises(ValueError, match="missing image: 1"):
        open_split("coco", tmp_path, "val")


def test_a_split_without_images_is_none(tmp_path: Path) -> None:
    yolo(tmp_path / "d", "images/train", "train/a", "train/b", more="test: images/test\n")
    with pytest.raises(FileNotFoundError, match="no images of the split 'test'"):
        open_split("coco", tmp_path / "d", "test")
    assert [one.path.name for one in convert(tmp_path / "d", tmp_path / "coco")] == ["train.json"]


def test_validation_that_is_named_and_missing_is_not_cut_from_training(tmp_path: Path) -> None:
    yolo(tmp_path, "images/train", "train/a", "train/b", more="val: images/vla\n")
    with pytest.raises(FileNotFoundError, match="no images of the split 'val'"):
        open_split("coco", tmp_path, "val")


def test_images_missing_from_a_list_are_counted(tmp_path: Path) -> None:
    yolo(tmp_path, "train.txt", "a", more="val: images\n")
    write(tmp_path / "train.txt", "images/a.png\nimages/gone.png\n")
    data = open_split("coco", tmp_path, "train")
    assert (len(data), data.skipped) == (1, {"missing image": 1})


@pytest.mark.parametrize("number", ["inf", "nan", "1e400"])
def test_class_numbers_that_are_none(number: str, tmp_path: Path) -> None:
    yolo(tmp_path, "images", "a", "b", more="val: images\n")
    write(tmp_path / "labels/a.txt", f"{YOLO_LINE}{number} 0.5 0.5 0.2 0.5\n")
    data = open_split("coco", tmp_path, "train")
    assert (len(data), data.skipped) == (2, {"line that is no box": 1})


def test_links_are_named_as_they_are_called_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d"
    write(folder / "classes.txt", "calm\n")
    for number in range(2):
        os.symlink(save_image(tmp_path / f"elsewhere/{number}.png"), folder / f"link{number}.png")
        write(folder / f"link{number}.txt", YOLO_LINE)
    monkeypatch.chdir(tmp_path)
    found = [open_split("coco", place, "train", val_fraction=0) for place in (folder, "d", "d/")]
    assert len({data.fingerprint for data in found}) == 1
    assert [str(record.image_path) for record in found[0]._records] == ["link0.png", "link1.png"]


def test_conversion_into_the_source_is_refused(tmp_path: Path) -> None:
    yolo(tmp_path, "images", "a", more="val: images\n")
    for place in (tmp_path, tmp_path / "coco", tmp_path / "images/../coco"):
        with pytest.raises(ValueError, match="destination must be outside the source"):
            convert(tmp_path, place, overwrite=True)


def test_conversion_never_replaces_what_it_reads(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    source = write(tmp_path / "train.json", {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "note": "mine"}],
        "categories": [{"id": 1, "name": "calm"}],
    })  # fmt: skip
    before = source.read_bytes()
    for place in (tmp_path, source):
        with pytest.raises(ValueError, match="destination must be another file than the source"):
            convert(source, place, overwrite=True)
    assert source.read_bytes() == before


def test_images_that_would_become_one_file_are_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "d/a.png")
    save_image(tmp_path / "a.png")
    table = write(
        tmp_path / "d/all.csv", "image,xmin,ymin,xmax,ymax,label\na.png,1,2,30,40,calm\n../a.png,1,2,30,40,sad\n"
    )
    with pytest.raises(ValueError, match="would both become"):
        convert(table, tmp_path / "coco", overwrite=True)
