"""CVAT XML for images 1.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsct.data.annotation_tools import read
from tests.data.annotation_tools.exports import read_people, told, write


def export(tmp_path: Path, shapes: str, image: str = 'id="0" name="x/a.png" width="600" height="400"') -> Path:
    content = f"<annotations><version>1.1</version><image {image}>{shapes}</image></annotations>"
    content = f'<?xml version="1.0" encoding="utf-8"?>\n{content}'
    return write(tmp_path / "annotations.xml", content)


def box(label: str = "person", attributes: str = "", more: str = "") -> str:
    corners = 'xtl="200" ytl="100" xbr="400" ybr="200"'
    return f'<box label="{label}" occluded="0" {corners} z_order="0" {more}>{attributes}</box>'


def attribute(name: str, value: str) -> str:
    return f'<attribute name="{name}">{value}</attribute>'


BOX = (200.0, 100.0, 400.0, 200.0)


def test_labels_of_boxes(tmp_path: Path) -> None:
    path = export(tmp_path, box("calm"))
    assert read_people(path, multi_label=False) == [[(*BOX, "calm")]]
    raw = read(path).people(None, multi_label=False)
    assert (raw.images[0].name, raw.images[0].size, raw.certain_sizes) == ("x/a.png", (600, 400), True)
    assert raw.source == "CVAT XML, one label per person, from box labels"


def test_select_and_check_boxes_are_the_emotions(tmp_path: Path) -> None:
    said = attribute("emotion", "calm") + attribute("age", "adult") + attribute("occluded", "true")
    checked = attribute("happy", "true") + attribute("sad", "false") + attribute("emotion", "__undefined__")
    path = export(tmp_path, box("person", said) + box("face", checked, more='rotation="0.0"').replace('"200"', '"201"'))
    assert [[person[4:] for person in image] for image in read_people(path)] == [[("calm",), ("happy",)]]
    raw = read(path).people(None, multi_label=False)
    assert dict(raw.images[0].people[0].attributes) == {"age": "adult"}
    assert raw.source.endswith("from emotion and check boxes")


def test_a_box_of_an_emotion_with_a_second_one(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        box("calm", attribute("sad", "true") + attribute("hidden", "true"))
        + box("sad", more='a=""').replace('"100"', '"101"'),
    )
    assert [person[4:] for person in read_people(path)[0]] == [("calm", "sad"), ("sad",)]


def test_turned_about_its_centre(tmp_path: Path) -> None:
    path = export(tmp_path, box("calm", more='rotation="90.0"'))
    assert read_people(path) == [[(250.0, 50.0, 350.0, 250.0, "calm")]]
    assert told(path) == ([], ["turned box, upright rectangle around it taken"])


def test_other_shapes(tmp_path: Path) -> None:
    shapes = (
        '<polygon label="calm" points="10.0,20.0;30.0,20.0;20.0,50.0"/>'
        '<ellipse label="sad" cx="100" cy="50" rx="20" ry="10"/>'
        '<mask label="happy" left="5" top="6" width="10" height="20" rle="1, 2"/>'
        '<points label="eye" points="1,2"/><polyline label="arm" points="1,2;3,4"/><tag label="outdoors"/>'
    )
    path = export(tmp_path, shapes)
    assert read_people(path) == [
        [(10.0, 20.0, 30.0, 50.0, "calm"), (80.0, 40.0, 120.0, 60.0, "sad"), (5.0, 6.0, 15.0, 26.0, "happy")]
    ]
    lost, mended = told(path)
    assert lost == ["region that is no box: points", "region that is no box: polyline"]
    assert mended == ["polygon, rectangle around it taken"] * 2 + ["label of a whole image not read"]


def test_subsets_are_splits(tmp_path: Path) -> None:
    images = [
        f'<image id="{n}" name="{n}.png" width="9" height="9" subset="{one}"/>'
        for n, one in enumerate(("Train", "Validation"))
    ]
    found = read(write(tmp_path / "a.xml", f"<annotations>{''.join(images)}</annotations>"))
    assert found.splits == ("train", "val")
    assert [image.name for image in found.people((), multi_label=True, split="val").images] == ["1.png"]


def test_image_without_boxes_is_kept(tmp_path: Path) -> None:
    assert read_people(export(tmp_path, "")) == [[]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotations><track id='0' label='a'/></annotations>", "form for videos.*CVAT for images 1.1"),
        ("<annotations><image id='3'/></annotations>", "image 3: the name is missing"),
        (
            "<annotations><image name='a'><box xtl='1' ytl='b' xbr='2' ybr='3'/></image></annotations>",
            "a: box: ytl must be a number, got 'b'",
        ),
        ("<annotations><image name='a'><polygon points='1,2;3'/></image></annotations>", "points must be x,y;x,y"),
    ],
)
def test_malformed(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "a.xml", content))


def test_entities_are_refused(tmp_path: Path) -> None:
    from dsct.data.annotation_tools.cvat_xml import read_cvat_xml

    content = '<!DOCTYPE x [<!ENTITY a "aaaa">]><annotations><image name="&a;"/></annotations>'
    with pytest.raises(ValueError, match=r"a.xml: .*a document type \(<!DOCTYPE …>\) is not read"):
        read_cvat_xml(write(tmp_path / "a.xml", content))
