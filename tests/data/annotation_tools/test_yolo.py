"""YOLO: layouts, lines and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsct.data.annotation_tools import read
from dsct.data.annotation_tools.yolo import is_yolo, names_file
from tests.data.annotation_tools.exports import people, read_people, save_image, told, write

LINE = "1 0.25 0.5 0.2 0.4\n"  # of 200 x 100 pixels
BOX = (30.0, 30.0, 70.0, 70.0)
NAMES = "names: [calm, happy, sad]\n"


def data(folder: Path, images: str, labels: str, lines: str = LINE, suffix: str = ".png") -> None:
    save_image(folder / images / f"a{suffix}")
    write(folder / labels / "a.txt", lines)


@pytest.mark.parametrize(
    "layout", [("images/train", "labels/train"), ("train/images", "train/labels"), ("images", "labels"), ("x", "x")]
)
@pytest.mark.parametrize("names", [NAMES, "names:\n  0: calm\n  1: happy\n  2: sad\n"])
def test_layouts_and_forms_of_names(layout: tuple[str, str], names: str, tmp_path: Path) -> None:
    data(tmp_path, *layout)
    write(tmp_path / "data.yaml", f"nc: 3\n{names}")
    for path in (tmp_path, tmp_path / "data.yaml"):
        assert read_people(path, multi_label=False) == [[(*BOX, "happy")]]
    found = read(tmp_path)
    assert found.class_names(multi_label=False) == ("calm", "happy", "sad")
    assert found.splits == (("train",) if "train" in layout[0] else ())


@pytest.mark.parametrize(
    "stated",
    [
        "train: images/train\nval: images/val\n",
        "path: .\ntrain: images/train\nval: [images/val]\n",
        "train: ../images/train\nval: ../images/val\n",
        "path: /somewhere/else\ntrain: images/train/\nvalid: images/val\n",
        "train: train.txt\nval: images/val\n",
    ],
)
def test_splits_as_the_yaml_states_them(stated: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        data(tmp_path, f"images/{split}", f"labels/{split}", LINE if split == "train" else LINE.replace("1", "2", 1))
    write(tmp_path / "train.txt", "./images/train/a.png\n")
    write(tmp_path / "data.yaml", stated + NAMES)
    found = read(tmp_path)
    assert found.splits == ("train", "val")
    assert people(found.people(None, multi_label=False, split="val")) == [[(*BOX, "sad")]]
    assert found.people(None, multi_label=False, split="val").images[0].name == "images/val/a.png"


@pytest.mark.parametrize("names", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_names_in_a_text_file(names: str, tmp_path: Path) -> None:
    data(tmp_path, "images", "labels")
    write(tmp_path / names, "calm\nhappy\n")
    assert read_people(tmp_path) == [[(*BOX, "happy")]]


def test_turned_boxes_and_outlines(tmp_path: Path) -> None:
    lines = "0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6\n1 0.1 0.2 0.5 0.2 0.3 0.9\n2 0.25 0.5 0.2 0.4 0.93\n"
    data(tmp_path, "images", "labels", lines)
    write(tmp_path / "data.yaml", NAMES)
    assert read_people(tmp_path) == [
        [(20.0, 20.0, 60.0, 60.0, "calm"), (20.0, 20.0, 100.0, 90.0, "happy"), (*BOX, "sad")]
    ]
    assert told(tmp_path) == ([], ["polygon, rectangle around it taken"] * 2)


def test_points_of_a_pose_are_passed_over(tmp_path: Path) -> None:
    data(tmp_path, "images", "labels", LINE.strip() + " 0.1 0.1 2 0.3 0.3 1\n")
    write(tmp_path / "data.yaml", NAMES + "kpt_shape: [2, 3]\n")
    assert read_people(tmp_path) == [[(*BOX, "happy")]]


def test_two_lines_with_one_box_are_one_person(tmp_path: Path) -> None:
    data(tmp_path, "images", "labels", LINE + LINE.replace("1", "2", 1))
    write(tmp_path / "data.yaml", NAMES)
    assert read_people(tmp_path) == [[(*BOX, "happy", "sad")]]
    assert told(tmp_path)[1] == ["boxes at one place taken as one person"]
    with pytest.raises(ValueError, match=r"labels happy, sad; .*--multi-label"):
        read_people(tmp_path, multi_label=False)


def test_image_without_labels_shows_nobody(tmp_path: Path) -> None:
    data(tmp_path, "images", "labels", "")
    save_image(tmp_path / "images/b.png")
    write(tmp_path / "data.yaml", NAMES)
    assert read_people(tmp_path) == [[], []]


def test_line_that_is_no_box_is_counted(tmp_path: Path) -> None:
    data(tmp_path, "images", "labels", LINE + "1 0.5\nhappy 0.1 0.1 0.1 0.1\n\n")
    write(tmp_path / "data.yaml", NAMES)
    assert (read_people(tmp_path), told(tmp_path)[0]) == ([[(*BOX, "happy")]], ["line that is no box"] * 2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: [calm]\n", r"a.txt, line 1: class 1 has no name; there are 0"),
        ("names: [calm, calm]\n", "names must be different and not blank"),
        ("names: {first: calm}\n", "names must be a list, or numbers and names"),
    ],
)
def test_malformed(names: str, message: str, tmp_path: Path) -> None:
    data(tmp_path, "images", "labels")
    write(tmp_path / "data.yaml", names)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_without_images(tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", NAMES)
    with pytest.raises(ValueError, match=r"there are no images in .*, so fractions cannot become pixels"):
        read(tmp_path)


def test_a_yaml_file_that_cannot_be_read_names_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "names: [calm\n")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xff")
    write(tmp_path / "data.yaml", NAMES)
    assert [is_yolo(tmp_path / name) for name in ("a.yaml", "b.yaml", "none.yaml", "data.yaml")] == [False] * 3 + [True]
    assert names_file(tmp_path) == tmp_path / "data.yaml"
