"""Figure 12: losses of runs over the epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.axes import Axes

from dsct.visualize import loss_curves

HEADER = "epoch,train_loss,train_loss_bbox,val_loss,val_loss_bbox,is_best\n"


def run(folder: Path, rows: str) -> Path:
    folder.mkdir()
    (folder / "log.csv").write_text(HEADER + rows)
    return folder


def test_lines_are_the_numbers_of_the_log(tmp_path: Path) -> None:
    with_boxes = run(tmp_path / "a", "1,3.0,1.0,4.0,2.0,1\n2,2.0,0.5,3.5,1.5,1\n3,1.0,0.4,3.8,1.6,0\n")
    without = run(tmp_path / "b", "1,2.0,9.0,2.5,9.5,1\n")
    figure = loss_curves({"with": with_boxes, "without": without})
    assert [ax.get_title() for ax in figure.axes] == ["total loss", "box loss, L1"]
    lines = {str(line.get_label()): [float(y) for y in line.get_ydata()] for line in figure.axes[0].get_lines()}
    assert lines["with training"] == [3.0, 2.0, 1.0]
    assert lines["with validation"] == [4.0, 3.5, 3.8]
    assert lines["with best epoch"] == [3.5]
    assert lines["without training"] == [2.0]


WITH_SCORES = (
    "epoch,train_loss,val_loss,val_official_accuracy,val_official_mAP,val_official_chance,weight_spatial,"
    "weight_semantic,is_best\n1,3,3,0.4,0.3,0.25,0.9,0.1,0\n2,2,2,0.6,0.5,0.25,1,0,1\n"
)


def logged(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "log.csv").write_text(text)
    return folder


def drawn(ax: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): [float(y) for y in line.get_ydata()] for line in ax.get_lines()}


def test_the_score_stands_beside_chance(tmp_path: Path) -> None:
    figure = loss_curves({"a": logged(tmp_path / "a", WITH_SCORES)})
    titles = ["total loss", "accuracy on validation data, %", "weight of the context by set, %"]
    assert [ax.get_title() for ax in figure.axes] == titles
    assert drawn(figure.axes[1]) == {"official protocol": [40, 60], "best epoch": [60], "chance": [25, 25]}
    only_map = WITH_SCORES.replace("val_official_accuracy", "other")
    figure = loss_curves({"b": logged(tmp_path / "b", only_map)})
    assert drawn(figure.axes[1]) == {"official protocol": [30, 50], "best epoch": [50], "chance": [25, 25]}
    assert figure.axes[1].get_title() == "mAP on validation data, %"


def test_the_weight_of_each_context_set_is_drawn(tmp_path: Path) -> None:
    figure = loss_curves({"a": logged(tmp_path / "a", WITH_SCORES), "b": run(tmp_path / "b", "1,2,9,2.5,9.5,1\n")})
    (ax,) = [ax for ax in figure.axes if ax.get_title().startswith("weight")]
    assert drawn(ax) == {"a spatial: near": [90, 100], "a semantic: by content": [10, 0]}
    kinds = ["spatial: near", "semantic: by content"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == kinds
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_what_was_never_measured_has_no_panel(tmp_path: Path) -> None:
    text = WITH_SCORES.replace("0.9,0.1,0\n", "nan,nan,0\n").replace("1,0,1\n", ",,1\n")
    figure = loss_curves({"a": logged(tmp_path / "a", text)})
    assert [ax.get_title() for ax in figure.axes] == ["total loss", "accuracy on validation data, %"]
    with pytest.raises(ValueError, match="must have logged a number to draw, got none"):
        loss_curves({"b": run(tmp_path / "b", "1,nan,,,,0\n")})


def test_what_is_no_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log\.csv must have the columns of a training's log, got a, b"):
        loss_curves({"a": logged(tmp_path / "a", "a,b\n1,2\n")})
    with pytest.raises(ValueError, match=r"log\.csv, line 3: train_loss must be a number, got 'x'"):
        loss_curves({"b": run(tmp_path / "b", "1,1,1,1,1,1\n2,x,1,1,1,1\n")})
    with pytest.raises(ValueError, match=r"line 2: epoch must be a number, got ''"):
        loss_curves({"c": run(tmp_path / "c", ",1,1,1,1,1\n")})


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one folder"):
        loss_curves({})
    with pytest.raises(TypeError, match="mapping from names to folders, got str"):
        loss_curves("runs/a")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no log of a run"):
        loss_curves({"none": tmp_path})
    with pytest.raises(ValueError, match="at least one epoch"):
        loss_curves({"empty": run(tmp_path / "empty", "")})
