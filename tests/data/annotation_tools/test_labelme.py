"""labelme, a JSON file per image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsct.data.annotation_tools import read
from tests.data.annotation_tools.exports import read_people, told, write

BOX = (10.0, 20.0, 40.0, 60.0)


def shape(label: str, points: list[list[float]] | None = None, kind: str = "rectangle", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": points or [[10, 20], [40, 60]],
        "shape_type": kind,
        "group_id": None,
        "flags": {},
    } | more


def export(path: Path, *shapes: dict[str, Any], image: str = "a.png") -> Path:
    about = {"version": "5.5.0", "flags": {}, "imagePath": image, "imageData": None}
    return write(path, about | {"shapes": list(shapes), "imageHeight": 100, "imageWidth": 200})


@pytest.mark.parametrize("points", [[[10, 20], [40, 60]], [[40, 60], [10, 20]], [[40, 20], [10, 60]]])
def test_two_corners_in_any_order(points: list[list[float]], tmp_path: Path) -> None:
    path = export(tmp_path / "a.json", shape("calm", points))
    assert read_people(path, multi_label=False) == [[(*BOX, "calm")]]
    assert told(path) == ([], [])


def test_flags_are_the_emotions(tmp_path: Path) -> None:
    path = export(tmp_path / "a.json", shape("person", flags={"happy": True, "sad": False, "calm": True}))
    assert read_people(path) == [[(*BOX, "happy", "calm")]]


def test_shapes_at_one_place_are_one_person(tmp_path: Path) -> None:
    path = export(tmp_path / "a.json", shape("happy", group_id=1), shape("calm", group_id=1))
    assert read_people(path) == [[(*BOX, "happy", "calm")]]


def test_other_shapes(tmp_path: Path) -> None:
    path = export(
        tmp_path / "a.json",
        shape("calm", [[10, 20], [30, 20], [20, 50]], "polygon"),
        shape("sad", [[50, 40], [50, 30]], "circle"),
        shape("eye", [[1, 2]], "point"),
        shape("arm", [[1, 2], [3, 4]], "line"),
    )
    assert read_people(path) == [[(10.0, 20.0, 30.0, 50.0, "calm"), (40.0, 30.0, 60.0, 50.0, "sad")]]
    assert told(path)[0] == ["region that is no box: point", "region that is no box: line"]


def test_folder_with_other_files(tmp_path: Path) -> None:
    export(tmp_path / "train/a.json", shape("calm"))
    export(tmp_path / "val/b.json", image="..\\val\\b.png")
    write(tmp_path / "zzz.json", {"a": 1})
    found = read(tmp_path)
    assert found.splits == ("train", "val")
    assert [image.name for image in found.people(None, multi_label=False).images] == ["train/a.png", "val/b.png"]


def test_malformed_file_is_named(tmp_path: Path) -> None:
    export(tmp_path / "a.json", shape("calm", [["x", 1], [2, 3]]))
    with pytest.raises(ValueError, match=r"a.json: x must be a number, got 'x'"):
        read(tmp_path)
