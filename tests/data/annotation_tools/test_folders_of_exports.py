"""Folders and files of every tool, opened as one's own data without being converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsct.cli import app
from dsct.data import CocoDataset, open_split
from dsct.data.annotation_tools import find, read, recognise
from dsct.data.folders import recognise as recognise_folder
from tests.data.annotation_tools.exports import save_image, write

SIZE = {"original_width": 200, "original_height": 100}
NAMES = [f"{n}.png" for n in range(8)]
BOX = [30.0, 30.0, 70.0, 70.0]


def label(number: int) -> str:
    return ("calm", "happy")[number % 2]


def label_studio(folder: Path) -> None:
    tasks = []
    for number, name in enumerate(NAMES):
        value = {"x": 15, "y": 30, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": [label(number)]}
        result = {"id": "r", "type": "rectanglelabels", "from_name": "box", "value": value, **SIZE}
        tasks.append({"data": {"image": f"/data/upload/1/0a1b2c3d-{name}"}, "annotations": [{"result": [result]}]})
    write(folder / "project-1.json", tasks)


def cvat(folder: Path) -> None:
    corners = 'xtl="30" ytl="30" xbr="70" ybr="70"'
    images = "".join(
        f'<image name="{name}" width="200" height="100"><box label="{label(number)}" {corners}/></image>'
        for number, name in enumerate(NAMES)
    )
    write(folder / "annotations.xml", f"<annotations>{images}</annotations>")


def yolo(folder: Path) -> None:
    for number, name in enumerate(NAMES):
        write(folder / "images" / name.replace("png", "txt"), f"{number % 2} 0.25 0.5 0.2 0.4\n")
    write(folder / "classes.txt", "calm\nhappy\n")


def voc(folder: Path) -> None:
    place = "<bndbox><xmin>30</xmin><ymin>30</ymin><xmax>70</xmax><ymax>70</ymax></bndbox>"
    for number, name in enumerate(NAMES):
        found = f"<object><name>{label(number)}</name>{place}</object>"
        write(folder / f"{number}.xml", f"<annotation><filename>{name}</filename>{found}</annotation>")


def via(folder: Path) -> None:
    rect = {"name": "rect", "x": 30, "y": 30, "width": 40, "height": 40}
    content = {
        name: {
            "filename": name,
            "regions": [{"shape_attributes": rect, "region_attributes": {"emotion": label(number)}}],
        }
        for number, name in enumerate(NAMES)
    }
    write(folder / "via_export_json.json", content)


def labelme(folder: Path) -> None:
    for number, name in enumerate(NAMES):
        shape = {"label": label(number), "points": [[70, 70], [30, 30]], "shape_type": "rectangle"}
        write(folder / f"{number}.json", {"imagePath": name, "shapes": [shape], "imageHeight": 100, "imageWidth": 200})


def vott(folder: Path) -> None:
    lines = [f'"{name}",30,30,70,70,"{label(number)}"' for number, name in enumerate(NAMES)]
    write(folder / "vott-csv-export.csv", "\n".join(['"image","xmin","ymin","xmax","ymax","label"', *lines]))


FORMS = [label_studio, cvat, yolo, voc, via, labelme, vott]


@pytest.fixture(params=FORMS, ids=lambda form: form.__name__)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    form: Callable[[Path], None] = request.param
    for name in NAMES:
        save_image(tmp_path / ("images" if form is yolo else ".") / name)
    form(tmp_path)
    return tmp_path


def test_training_and_validation_images(folder: Path) -> None:
    assert recognise_folder(folder) == "coco"
    whole = open_split("coco", folder, "train", val_fraction=0)
    parts = [open_split("coco", folder, split, val_fraction=0.25) for split in ("train", "val")]
    assert (len(whole), [len(part) for part in parts], whole.class_names) == (8, [6, 2], ("calm", "happy"))
    assert whole.annotations(0).boxes.tolist() == [pytest.approx(BOX, rel=1e-6)]
    assert [whole.class_names[int(whole.annotations(n).labels[0])] for n in range(8)] == ["calm", "happy"] * 4
    assert whole[0][0].size == (200, 100)
    with pytest.raises(FileNotFoundError, match="no annotations of coco, split 'test'"):
        open_split("coco", folder, "test")


def test_named_as_annotations(folder: Path) -> None:
    export = find(folder)
    assert export is not None
    assert len(open_split("coco", folder, "test", annotations=export)) == 8


def test_checked_by_the_command(folder: Path) -> None:
    found = CliRunner().invoke(app, ["data", "check", str(folder)])
    assert (found.exit_code, "class" in found.output) == (0, True), found.output


def test_opened_in_python(folder: Path) -> None:
    export = find(folder)
    assert export is not None
    data = CocoDataset.from_export(export, folder / "images" if (folder / "images").is_dir() else folder)
    assert (len(data), data[0][0].size) == (8, (200, 100))


def test_readers_of_our_own_forms_name_the_form(tmp_path: Path) -> None:
    label_studio(tmp_path)
    with pytest.raises(ValueError, match=r"got list; it is Label Studio JSON: use .*data convert"):
        CocoDataset.from_json(tmp_path / "project-1.json")
    vott(tmp_path)
    with pytest.raises(ValueError, match=r"vott-csv-export.csv.*; it is CSV: use CocoDataset.from_export"):
        CocoDataset.from_csv(tmp_path / "vott-csv-export.csv")


def test_several_exports_in_one_folder(tmp_path: Path) -> None:
    cvat(tmp_path)
    vott(tmp_path)
    with pytest.raises(ValueError, match=r"several exports; name one of annotations.xml, vott-csv-export.csv with"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", {"images": [], "annotations": []}),
        ("a.json", [1, 2]),
        ("a.json", "{"),
        ("a.xml", "<html/>"),
        ("a.xml", "nothing"),
        ("a.csv", "path,x1,y1,x2,y2,label"),
        ("a.yaml", "train: images"),
        ("a.txt", "hello"),
    ],
)
def test_what_is_no_export(name: str, content: object, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    assert recognise(path) is None
    with pytest.raises(ValueError, match="not the export of an annotation tool that is read: Label Studio JSON"):
        read(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        recognise(tmp_path / "a.json")
