"""The result type: records, tables, JSON and text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsct.prediction.people import People, Person

NAMES = ("Calm", "Angry <b>", "Sad")
PROBABILITIES = np.array([[0.9, 0.1, 0.7], [0.25, 0.5, 0.125]], dtype=np.float32)
BOXES = np.array([[1, 2, 30, 40], [50.5, 2, 60, 40]], dtype=np.float32)


def two_people(**changes: Any) -> People:
    values: dict[str, Any] = {
        "boxes": BOXES,
        "scores": PROBABILITIES.mean(1),
        "labels": [["Calm", "Sad"], []],
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
        "image_size": (80, 60),
        "source": Path("room.jpg"),
        "note": None,
    }
    return People(**(values | changes))


def nobody() -> People:
    return two_people(boxes=BOXES[:0], scores=PROBABILITIES[:0, 0], labels=[], probabilities=PROBABILITIES[:0])


def test_iterates_over_person_records() -> None:
    people = two_people()
    first, second = people
    assert len(people) == 2
    assert first.box == (1, 2, 30, 40)
    assert first.labels == ("Calm", "Sad")
    assert first.probabilities == pytest.approx({"Calm": 0.9, "Angry <b>": 0.1, "Sad": 0.7})
    assert second == people[1] == people[-1]
    assert isinstance(second, Person)
    assert second.labels == ()
    with pytest.raises(IndexError):
        people[2]


def test_json_holds_everything_as_plain_values() -> None:
    content = json.loads(two_people(note="drawn").to_json())
    assert {key: content[key] for key in ("image", "width", "height", "note")} == {
        "image": "room.jpg", "width": 80, "height": 60, "note": "drawn",
    }  # fmt: skip
    assert content["people"][1] == {
        "box": [50.5, 2, 60, 40],
        "score": pytest.approx(0.875 / 3),
        "labels": [],
        "probabilities": {"Calm": 0.25, "Angry <b>": 0.5, "Sad": 0.125},
    }
    assert json.loads(nobody().to_json())["people"] == []


def test_data_frame_has_a_row_per_person_and_a_column_per_class() -> None:
    frame = two_people().to_dataframe()
    assert list(frame.columns) == ["image", "person", "x1", "y1", "x2", "y2", "score", "labels", *NAMES]
    assert frame.loc[0, ["image", "person", "x2", "labels"]].tolist() == ["room.jpg", 1, 30, "Calm, Sad"]
    np.testing.assert_allclose(frame[list(NAMES)].to_numpy(), PROBABILITIES)
    assert list(nobody().to_dataframe().columns) == list(frame.columns)
    assert len(nobody().to_dataframe()) == 0


def test_data_frame_without_pandas_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas: pip install 'dsct\[dataframe\]'"):
        two_people().to_dataframe()


def test_image_path_only_for_files() -> None:
    assert two_people(source="a.png").image_path == "a.png"
    assert two_people(source=np.zeros((60, 80, 3), np.uint8)).image_path is None


def test_text_forms() -> None:
    people = two_people()
    assert repr(people) == "<People: 2 in room.jpg: Calm 0.90, Sad 0.70; no emotion above its threshold>"
    assert str(people).splitlines() == [
        "room.jpg (80 x 60): 2 people",
        "  1  Calm 0.90, Sad 0.70  (person score 0.567, box 1, 2, 30, 40)",
        "  2  no emotion above its threshold  (person score 0.292, box 50, 2, 60, 40)",
    ]
    assert repr(nobody()) == "<People: 0 in room.jpg>"
    assert str(nobody()) == "room.jpg (80 x 60): no people"
    assert str(two_people(note="drawn")).splitlines()[-1] == "note: drawn"


def test_html_is_a_table_with_escaped_names_and_the_note() -> None:
    table = two_people(labels=[["Angry <b>"], ["Sad"]], note="drawn & small")._repr_html_()
    assert table.count("<tr>") == 3
    assert "Angry &lt;b&gt; 0.10" in table
    assert "<b>" not in table
    assert "drawn &amp; small" in table
    assert "<tr>" not in nobody()._repr_html_()


def test_a_slice_is_people() -> None:
    people = two_people(note="drawn")
    first = people[0:1]
    assert (len(first), first.labels, first.note, first.image_size) == (
        1,
        [["Calm", "Sad"]],
        "drawn",
        people.image_size,
    )
    assert first[0] == people[0]
    assert first.boxes.tolist() == people.boxes[:1].tolist()
    assert [person.box for person in people[::-1]] == [people[1].box, people[0].box]
    assert len(people[5:]) == len(nobody()[:2]) == 0
    assert people[:].to_dict() == people.to_dict()
    assert people[np.int64(-1)] == people[1]


@pytest.mark.parametrize("index", ["a", 0.0, None, [0], (0, 1)])
def test_other_indices_are_refused(index: Any) -> None:
    with pytest.raises(TypeError, match="People: index must be a whole number or a slice, got"):
        two_people()[index]


@pytest.mark.parametrize("index", [2, -3])
def test_an_index_beyond_the_last_is_named(index: int) -> None:
    with pytest.raises(IndexError, match=f"People: index {index} is out of range for 2 people"):
        two_people()[index]
