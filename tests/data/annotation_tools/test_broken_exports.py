"""Exports with one value replaced or missing are read or refused in a sentence, never with another error."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsct.data.annotation_tools import read
from tests.data.annotation_tools.exports import write

GEOMETRY = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 5}
SIZE = {"original_width": 200, "original_height": 100}
RECTANGLE = {"id": "r", "type": "rectanglelabels", "from_name": "box", **SIZE}
LABELS = RECTANGLE | {"value": GEOMETRY | {"rectanglelabels": ["person"]}}
CHOICE = RECTANGLE | {"type": "choices", "from_name": "emotion", "value": GEOMETRY | {"choices": ["calm"]}}
VIA = {
    "a.png1": {
        "filename": "a.png",
        "regions": [
            {
                "shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4},
                "region_attributes": {"emotion": {"calm": True}, "age": "adult"},
            }
        ],
    }
}
FORMS: dict[str, Any] = {
    "Label Studio": [{"data": {"image": "a.png"}, "annotations": [{"result": [LABELS, CHOICE]}]}],
    "JSON-MIN": [{"image": "a.png", "annotation_id": 2, "box": [LABELS["value"] | SIZE], "emotion": ["calm"]}],
    "VIA": {"_via_img_metadata": VIA, "_via_attributes": {"region": {"emotion": {"options": {"1": "calm"}}}}},
    "labelme": {
        "imagePath": "a.png",
        "imageWidth": 200,
        "imageHeight": 100,
        "shapes": [{"label": "calm", "points": [[1, 2], [3, 4]], "shape_type": "rectangle", "flags": {"sad": True}}],
    },
}
JUNK: tuple[Any, ...] = (None, 1, "x", [], {}, [1], float("nan"))


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield (*above, key)
        yield from places(content[key], (*above, key))


def broken(content: Any) -> Iterator[Any]:
    """The content with each value replaced, and with each entry of an object missing."""
    for *above, last in places(content):
        for value in (*JUNK, ...):
            changed = copy.deepcopy(content)
            parent = changed
            for key in above:
                parent = parent[key]
            if value is not ...:
                parent[last] = value
            elif isinstance(parent, dict):
                del parent[last]
            yield changed


@pytest.mark.parametrize("form", FORMS)
def test_one_value_replaced(form: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.json", FORMS[form])).people(None, multi_label=True).images[0].people
    refused = []
    for content in broken(FORMS[form]):
        (tmp_path / "a.json").write_text(json.dumps(content))
        try:
            read(tmp_path / "a.json").people(None, multi_label=True)
        except ValueError as error:
            refused.append(str(error))
    assert refused
    assert all("a.json" in sentence for sentence in refused)
