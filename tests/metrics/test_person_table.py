"""The table of all people: what it says, and that scores can be computed from it again."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from pyarrow import parquet
from sklearn.metrics import average_precision_score

from dsct.metrics import Evaluator, PersonTable, require_table_format
from tests.metrics.scenes import NAMES, evaluator_of, scenes


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_row_per_person_in_the_order_of_the_annotations(multi_label: bool) -> None:
    made = scenes(multi_label)
    rows = iter(evaluator_of(made, multi_label).person_table().rows())
    for prediction, truth in made:
        for person, box in enumerate(truth["boxes"]):
            row = next(rows)
            assert row["image"] == truth["image_id"]
            assert (row["person"], row["people"]) == (person + 1, len(truth["boxes"]))
            assert [row[f"true_{corner}"] for corner in ("x1", "y1", "x2", "y2")] == box.tolist()
            assert row["age"] == (truth["attributes"]["age"][person] or None)
            assert row["gender"] == truth["attributes"]["gender"][person]
            known = truth["continuous"][person]
            assert [row["valence"], row["arousal"], row["dominance"]] == [None if np.isnan(x) else x for x in known]
            shown = truth["labels"][person] if multi_label else np.arange(3) == truth["labels"][person]
            assert row["true_labels"] == "|".join(name for name, shows in zip(NAMES, shown, strict=True) if shows)
            _check_prediction(row, prediction, box, multi_label)
    assert next(rows, None) is None


def _check_prediction(row: dict[str, Any], prediction: dict[str, Any], box: Any, multi_label: bool) -> None:
    """The prediction of highest overlap, whatever it is; none only where the image has none."""
    if not len(prediction["boxes"]):
        assert {value for name, value in row.items() if name.startswith(("predicted", "probability", "iou"))} == {None}
        assert row["score"] is None
        return
    found = [row[f"predicted_{corner}"] for corner in ("x1", "y1", "x2", "y2")]
    query = prediction["boxes"].tolist().index(found)
    overlaps = [overlap(box, one) for one in prediction["boxes"]]
    assert row["iou"] == pytest.approx(overlaps[query])
    assert row["iou"] == pytest.approx(max(overlaps), abs=0.05)  # the protocol counts border pixels
    assert row["score"] == prediction["scores"][query]
    probabilities = [row[f"probability_{name}"] for name in NAMES]
    assert probabilities == prediction["probabilities"][query].tolist()
    named = [name for name, p in zip(NAMES, probabilities, strict=True) if p > 0.5]
    assert row["predicted_labels"] == ("|".join(named) if multi_label else NAMES[int(np.argmax(probabilities))])


def overlap(one: Any, other: Any) -> float:
    width, height = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
    area = max(width, 0) * max(height, 0)
    return float(area / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - area))


def test_the_scores_of_the_evaluation_follow_from_the_table() -> None:
    several = evaluator_of(scenes(True), True)
    official, table = several.compute()["official"], several.person_table().to_dataframe()
    for name, expected in zip(NAMES, official.average_precision, strict=True):
        shows = table.true_labels.str.split("|").map(lambda labels, name=name: name in labels)
        answered = table.iou.notna()
        # People in images without a prediction are never found.
        reached = shows[answered].sum() / shows.sum()
        found = average_precision_score(shows[answered], table[f"probability_{name}"][answered]) * reached
        assert found == pytest.approx(expected)
    single = evaluator_of(scenes(False), False)
    rows = single.person_table().rows()
    right = sum(row["true_labels"] == row["predicted_labels"] for row in rows)
    assert right / len(rows) == pytest.approx(single.compute()["official"].value)


def test_under_detection_people_who_are_missed_have_no_prediction() -> None:
    evaluator = evaluator_of(scenes(False), False)
    detection = evaluator.compute()["detection"]
    table = evaluator.person_table(protocol="detection")
    assert table.protocol == "detection"
    found = [row for row in table.rows() if row["predicted_labels"] is not None]
    assert detection.missed is not None
    assert len(table) - len(found) == detection.missed.sum() > 0
    assert min(row["iou"] for row in found) >= 0.5
    right = sum(row["true_labels"] == row["predicted_labels"] for row in found)
    assert right / len(table) == pytest.approx(detection.value)
    with pytest.raises(ValueError, match="protocol must be one of official, paper, detection, got 'best'"):
        evaluator.person_table(protocol="best")


def test_labels_are_those_at_the_thresholds() -> None:
    evaluator = evaluator_of(scenes(True), True)
    for row in evaluator.person_table([0.2, 0.5, 0.95]).rows():
        if row["iou"] is not None:
            at = zip(NAMES, (0.2, 0.5, 0.95), strict=True)
            assert row["predicted_labels"] == "|".join(n for n, limit in at if row[f"probability_{n}"] > limit)
    with pytest.raises(ValueError, match="thresholds must be 3 numbers, one per class"):
        evaluator.person_table([0.5, 0.5])


@pytest.mark.parametrize("images", [0, 40])
@pytest.mark.parametrize("multi_label", [False, True])
def test_files_hold_the_table(multi_label: bool, images: int, tmp_path: Path) -> None:
    table = evaluator_of(scenes(multi_label, images), multi_label).person_table()
    table.write(tmp_path / "people.csv")
    table.write(tmp_path / "people.parquet")
    with (tmp_path / "people.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == list(table.columns)
    expected = [["" if value is None else str(value) for value in row.values()] for row in table.rows()]
    assert rows == expected
    frame = pandas.read_parquet(tmp_path / "people.parquet")
    assert list(frame) == header
    pandas.testing.assert_frame_equal(frame, table.to_dataframe(), check_dtype=False)
    schema = parquet.read_schema(tmp_path / "people.parquet")
    types = [str(schema.field(name).type) for name in ("image", "person", "true_x1", "score", "predicted_labels")]
    assert types == ["string", "int64", "double", "double", "string"]


def test_a_column_that_nobody_fills_keeps_its_type(tmp_path: Path) -> None:
    nobody = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "probabilities": np.zeros((0, 3))}
    evaluator = Evaluator(NAMES, True)
    evaluator.update([nobody], [{"boxes": [[0, 0, 9, 9]], "labels": [[0, 1, 0]], "attributes": {"age": [""]}}])
    table = evaluator.person_table()
    assert not {"age", "valence"} & table.columns.keys()
    table.write(tmp_path / "people.parquet")
    schema = parquet.read_schema(tmp_path / "people.parquet")
    assert str(schema.field("iou").type) == "double"
    assert str(schema.field("predicted_labels").type) == "string"
    assert schema.metadata[b"protocol"] == b"official"


def test_an_attribute_takes_no_name_of_another_column() -> None:
    evaluator = Evaluator(NAMES, False)
    box = [[0.0, 0.0, 9.0, 9.0]]
    found = {"boxes": box, "scores": [0.5], "probabilities": [[0.1, 0.2, 0.3]]}
    evaluator.update([found], [{"boxes": box, "labels": [1], "attributes": {"score": ["high"], "valence": ["?"]}}])
    (row,) = evaluator.person_table().rows()
    assert (row["score"], row["attribute_score"], row["attribute_valence"]) == (0.5, "high", "?")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"attributes": {"age": []}}, r"attributes\['age'\] must be 1 texts, one per true box, got 0"),
        ({"continuous": [[1, 2]]}, r"continuous must be \(1, 3\), one row per true box, got \(1, 2\)"),
    ],
)
def test_what_is_said_of_people_must_be_said_of_each(truth: dict[str, Any], message: str) -> None:
    nobody = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "probabilities": np.zeros((0, 3))}
    with pytest.raises(ValueError, match=message):
        Evaluator(NAMES, False).update([nobody], [{"boxes": [[0, 0, 9, 9]], "labels": [1], **truth}])


def test_a_format_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.csv or \.parquet, got people\.xlsx"):
        require_table_format("people.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = PersonTable("official", {"image": []})
    with pytest.raises(ImportError, match=r"Parquet needs pyarrow: pip install 'dsct\[dataframe\]', or write a \.csv"):
        table.write(tmp_path / "people.parquet")
    with pytest.raises(ImportError, match=r"needs pandas: pip install 'dsct\[dataframe\]'"):
        table.to_dataframe()
    table.write(tmp_path / "people.csv")
