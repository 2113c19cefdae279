"""Pascal VOC, an XML file per image."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsct.data.annotation_tools import read
from tests.data.annotation_tools.exports import people, read_people, told, write

SIZE = "<size><width>600</width><height>400</height><depth>3</depth></size>"
CORNERS = "<bndbox><xmin>200</xmin><ymin>100</ymin><xmax>400</xmax><ymax>200</ymax></bndbox>"
BOX = (200.0, 100.0, 400.0, 200.0)


def export(path: Path, objects: str, name: str = "a.jpg", size: str = SIZE) -> Path:
    return write(path, f"<annotation><folder>x</folder><filename>{name}</filename>{size}{objects}</annotation>")


def one(name: str, place: str = CORNERS, more: str = "") -> str:
    return f"<object><name>{name}</name><pose>Unspecified</pose><difficult>0</difficult>{place}{more}</object>"


def test_folder_of_files(tmp_path: Path) -> None:
    export(tmp_path / "a.xml", one("calm"))
    export(tmp_path / "b.xml", "", name="b.jpg")
    raw = read(tmp_path).people(None, multi_label=False)
    assert people(raw) == [[(*BOX, "calm")], []]
    assert ([image.name for image in raw.images], raw.images[0].size, raw.certain_sizes) == (
        ["a.jpg", "b.jpg"],
        (600, 400),
        True,
    )


def test_splits_by_folder(tmp_path: Path) -> None:
    export(tmp_path / "train/a.xml", one("calm"))
    export(tmp_path / "valid/a.xml", one("sad"))
    found = read(tmp_path)
    assert found.splits == ("train", "val")
    val = found.people(None, multi_label=False, split="val")
    assert (val.images[0].name, people(val), val.class_names) == ("valid/a.jpg", [[(*BOX, "sad")]], ("calm", "sad"))


def test_splits_by_lists(tmp_path: Path) -> None:
    for name in "ab":
        export(tmp_path / f"Annotations/{name}.xml", one("calm"), name=f"{name}.jpg")
    write(tmp_path / "ImageSets/Main/train.txt", "a\n")
    write(tmp_path / "ImageSets/Main/val.txt", "b\n")
    found = read(tmp_path)
    assert [image.name for image in found.people(None, multi_label=True, split="val").images] == ["b.jpg"]


def test_attributes_as_cvat_writes_them(tmp_path: Path) -> None:
    pairs = [("emotion", "calm"), ("happy", "True"), ("rotation", "90.0"), ("occluded", "0")]
    more = "".join(f"<attribute><name>{name}</name><value>{value}</value></attribute>" for name, value in pairs)
    path = export(tmp_path / "a.xml", one("person", more=f"<attributes>{more}</attributes>"))
    assert read_people(path) == [[(250.0, 50.0, 350.0, 250.0, "calm", "happy")]]
    assert told(path)[1] == ["turned box, upright rectangle around it taken"]


def test_turned_box_and_polygon(tmp_path: Path) -> None:
    turned = "<robndbox><cx>300</cx><cy>150</cy><w>200</w><h>100</h><angle>1.5707963267948966</angle></robndbox>"
    outline = "<polygon><x1>10</x1><y1>20</y1><x2>30</x2><y2>20</y2><x3>20</x3><y3>50</y3></polygon>"
    path = export(tmp_path / "a.xml", one("calm", turned) + one("sad", outline) + one("happy", ""))
    assert read_people(path) == [[(250.0, 50.0, 350.0, 250.0, "calm"), (10.0, 20.0, 30.0, 50.0, "sad")]]
    assert told(path)[0] == ["region that is no box"]


def test_unknown_size_is_left_to_the_image(tmp_path: Path) -> None:
    path = export(tmp_path / "a.xml", one("calm"), size=SIZE.replace("600", "0"))
    raw = read(path).people(None, multi_label=False)
    assert (raw.images[0].size, raw.certain_sizes) == (None, False)


def test_malformed_file_is_named(tmp_path: Path) -> None:
    export(tmp_path / "a.xml", one("calm", CORNERS.replace("400", "right")))
    with pytest.raises(ValueError, match=r"a.xml: xmax must be a number, got 'right'"):
        read(tmp_path)
