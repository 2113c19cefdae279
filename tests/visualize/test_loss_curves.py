"""Figure 12: losses of runs over the epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one folder"):
        loss_curves({})
    with pytest.raises(FileNotFoundError, match="no log of a run"):
        loss_curves({"none": tmp_path})
    with pytest.raises(ValueError, match="at least one epoch"):
        loss_curves({"empty": run(tmp_path / "empty", "")})
