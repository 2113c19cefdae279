"""VGG Image Annotator: JSON and CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dsct.data.annotation_tools import read
from tests.data.annotation_tools.exports import read_people, told, write

RECT = {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40}
BOX = (10, 20, 40, 60)


def image(*regions: tuple[dict[str, Any], dict[str, Any]], name: str = "a.png") -> dict[str, Any]:
    found = [{"shape_attributes": shape, "region_attributes": said} for shape, said in regions]
    return {f"{name}123": {"filename": name, "size": 123, "regions": found, "file_attributes": {}}}


def write_via(tmp_path: Path, form: str, content: dict[str, Any]) -> Path:
    if form == "json":
        return write(tmp_path / "via.json", content)
    if form == "project":
        return write(tmp_path / "via.json", {"_via_settings": {}, "_via_img_metadata": content, "_via_attributes": {}})
    if form == "version 1":
        old = {
            key: one | {"regions": {str(n): r for n, r in enumerate(one["regions"])}} for key, one in content.items()
        }
        return write(tmp_path / "via.json", old)
    path = tmp_path / "via.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            [
                "filename",
                "file_size",
                "file_attributes",
                "region_count",
                "region_id",
                "region_shape_attributes",
                "region_attributes",
            ]
        )
        for one in content.values():
            for number, region in enumerate(one["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]):
                cells = [json.dumps(region[key]) for key in ("shape_attributes", "region_attributes")]
                table.writerow([one["filename"], 123, "{}", len(one["regions"]), number, *cells])
    return path


@pytest.fixture(params=["json", "project", "version 1", "csv"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ({"emotion": "calm"}, ["calm"]),
        ({"emotion": {"calm": True, "sad": True}}, ["calm", "sad"]),
        ({"emotion": {"calm": True, "sad": False}}, ["calm"]),
        ({"label": "calm"}, ["calm"]),
        ({"class": "face", "mood": "calm"}, ["calm"]),
        ({"happy": True, "age": "adult"}, ["happy"]),
    ],
)
def test_attributes_of_regions(said: dict[str, Any], labels: list[str], form: str, tmp_path: Path) -> None:
    path = write_via(tmp_path, form, image((RECT, said)) | image(name="b.png"))
    assert read_people(path) == [[(*BOX, *labels)], []]


def test_other_shapes(form: str, tmp_path: Path) -> None:
    shapes = [
        ({"name": "circle", "cx": 50, "cy": 40, "r": 10}, {"emotion": "calm"}),
        ({"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10, "theta": 0}, {"emotion": "sad"}),
        ({"name": "polygon", "all_points_x": [1, 9, 5], "all_points_y": [2, 2, 8]}, {"emotion": "happy"}),
        ({"name": "point", "cx": 1, "cy": 1}, {"emotion": "sad"}),
    ]
    path = write_via(tmp_path, form, image(*shapes))
    assert read_people(path) == [[(40, 30, 60, 50, "calm"), (30, 30, 70, 50, "sad"), (1, 2, 9, 8, "happy")]]
    assert told(path) == (["region that is no box: point"], ["polygon, rectangle around it taken"] * 3)


def test_turned_ellipse(tmp_path: Path) -> None:
    shape = {"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10, "theta": 1.5707963267948966}
    path = write_via(tmp_path, "json", image((shape, {"emotion": "calm"})))
    assert read_people(path) == [[(40, 20, 60, 60, "calm")]]


def test_numbered_options_have_their_texts(tmp_path: Path) -> None:
    options = {"region": {"emotion": {"type": "dropdown", "options": {"1": "calm", "2": "sad"}}}}
    content = {"_via_img_metadata": image((RECT, {"emotion": "2"})), "_via_attributes": options}
    assert read_people(write(tmp_path / "via.json", content)) == [[(*BOX, "sad")]]


def test_malformed_region_is_named(tmp_path: Path) -> None:
    path = write_via(tmp_path, "json", image((RECT | {"x": None}, {"emotion": "calm"})))
    with pytest.raises(ValueError, match=r"via.json: a.png: x must be a number, got None"):
        read(path)
    path = write_via(tmp_path, "csv", image((RECT | {"x": None}, {"emotion": "calm"})))
    with pytest.raises(ValueError, match=r"via.csv, line 2: x must be a number, got None"):
        read(path)
