"""CSV files with other columns than our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsct.data.annotation_tools import read, recognise
from tests.data.annotation_tools.exports import read_people, write

BOX = (10.0, 20.0, 40.0, 60.0)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,xmin,ymin,xmax,ymax,label", "a.png,10,20,40,60,calm"),
        ('"image","xmin","ymin","xmax","ymax","label"', '"a.png",10.0,20.0,40.0,60.0,"calm"'),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.png,200,100,calm,10,20,40,60"),
        ("Path,X1,Y1,X2,Y2,Label", "a.png,10,20,40,60,calm"),
        ("PATH,x1,y1,x2,y2,EMOTION", "a.png,10,20,40,60,calm"),
        ("image_name,label_name,bbox_x,bbox_y,bbox_width,bbox_height", "a.png,calm,10,20,30,40"),
        ("image,x,y,width,height,label", "a.png,10,20,30,40,calm"),
    ],
)
def test_columns(header: str, row: str, tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", f"{header}\n{row}\n")
    assert read_people(path, multi_label=False) == [[(*BOX, "calm")]]
    raw = read(path).people(None, multi_label=False)
    assert raw.split == "train"
    assert (raw.images[0].size, raw.certain_sizes) == (
        ((200, 100), True) if header.startswith("filename") else (None, False)
    )


def test_rows_of_an_image_several_labels_and_nobody(tmp_path: Path) -> None:
    lines = ["a.png,10,20,40,60,calm|sad", "b.png,,,,,", "a.png,1,2,3,4,sad"]
    path = write(tmp_path / "a.csv", "\n".join(["image,xmin,ymin,xmax,ymax,label", *lines]))
    assert read_people(path) == [[(*BOX, "calm", "sad"), (1.0, 2.0, 3.0, 4.0, "sad")], []]


def test_emotions_in_another_column_than_the_label(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", "image,xmin,ymin,xmax,ymax,label,emotion,age\na.png,10,20,40,60,person,calm|sad,adult"
    )
    assert read_people(path) == [[(*BOX, "calm", "sad")]]
    assert dict(read(path).people(None, multi_label=True).images[0].people[0].attributes) == {"age": "adult"}


def test_column_of_splits(tmp_path: Path) -> None:
    lines = ["a.png,10,20,40,60,calm,train", "b.png,10,20,40,60,sad,valid"]
    found = read(write(tmp_path / "a.csv", "\n".join(["image,xmin,ymin,xmax,ymax,label,split", *lines])))
    assert found.splits == ("train", "val")


def test_our_own_columns_are_left_to_our_own_reader(tmp_path: Path) -> None:
    assert recognise(write(tmp_path / "a.csv", "path,x1,y1,x2,y2,label\n")) is None


def test_malformed_row_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "image,xmin,ymin,xmax,ymax,label\na.png,10,20,left,60,calm")
    with pytest.raises(ValueError, match=r"a.csv, line 2: xmax must be a number, got 'left'"):
        read(path)
