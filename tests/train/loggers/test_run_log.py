"""The files that a run writes, and how they are mended."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dsct.train.loggers.run_log import RunLog
from dsct.train.progress import Progress


def test_log_goes_back_to_a_state(tmp_path: Path) -> None:
    log, said = RunLog(tmp_path), list[str]()
    for step in (1, 2, 3):
        log.step({"step": step, "loss": math.nan})
        log.epoch({"epoch": step, "step": step, "note": "a, b"})
    # The state is of before epoch 2 was counted: it is validated and logged again.
    log.mend(Progress(epoch=1, step=2), said.append)
    lines = [json.loads(line) for line in log.jsonl_path.read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [("step", 1), ("epoch", 1), ("step", 2)]
    assert lines[0]["loss"] is None
    assert said == [f"note: the log of {tmp_path} is mended up to step 2: 5 later lines dropped, to be logged again"]
    log.epoch({"epoch": 2, "step": 2, "note": "again"})
    with log.csv_path.open(newline="") as file:
        assert [row["note"] for row in csv.DictReader(file)] == ["a, b", "again"]
    log.epoch({"epoch": 4, "step": 4})
    assert log.csv_path.read_text().endswith("4,4,\n")


def written(folder: Path) -> tuple[RunLog, list[bytes]]:
    """A log of two epochs of two steps, and its content."""
    log = RunLog(folder)
    log.skipped({"train": {5: "a.jpg: truncated"}})
    for step in range(1, 5):
        log.step({"epoch": (step + 1) // 2, "step": step, "lr": 1e-4, "loss": 1 / step})
        if step % 2 == 0:
            values = {"loss": 0.1 + step, "recall": math.nan, "is_best": 1, "rate": 12.0}
            log.epoch({"epoch": step // 2, "step": step, **values})
    return log, [log.csv_path.read_bytes(), log.jsonl_path.read_bytes()]


def last_line_half(content: bytes) -> bytes:
    return content[: content.rstrip().rindex(b"\n") + 9]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda content: b"",
    "missing": lambda content: None,
    "torn": last_line_half,
    "without the last line end": lambda content: content[:-1],
    "blank lines": lambda content: content + b"\n\n  \n",
    "zeros at the end": lambda content: last_line_half(content) + bytes(300),
    "only zeros": lambda content: bytes(len(content)),
    "first line gone": lambda content: content[content.index(b"\n") + 1 :],
    "torn, and written on": lambda content: last_line_half(content) + content.splitlines(keepends=True)[-1],
    "no text": lambda content: last_line_half(content) + b"\xff\xfe\n",
    "a field that is too long": lambda content: content + b"3," + b"x" * 200_000 + b"\n",
    "too many digits": lambda content: content + b"9" * 5000 + b",4,1,1,1,1\n",
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "lines of lists": lambda content: (
        content + b'{"kind": []}\n{"kind": "skipped", "step": 0, "split": [1], "index": 1, "problem": "x"}\n'
    ),
    "lines of other numbers": lambda content: (
        content + b'{"kind": "step", "step": -1}\n{"kind": "step", "step": ' + b"9" * 5000 + b"}\n"
    ),
    "twice": lambda content: content + content.splitlines(keepends=True)[-1],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_damaged_log_is_mended_up_to_the_state(name: str, damage: str, tmp_path: Path) -> None:
    log, sound = written(tmp_path)
    content = DAMAGES[damage]((tmp_path / name).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    said: list[str] = []
    log.mend(Progress(epoch=2, step=4), said.append)
    lines = log.jsonl_path.read_text().splitlines()
    if name == "log.jsonl" and damage in ("empty", "missing", "only zeros", "UTF-16"):
        assert [json.loads(line) for line in lines] == [
            json.loads(line) for line in sound[1].splitlines() if b'"epoch", "' in line
        ], "steps are nowhere else"
    elif name == "log.jsonl" and damage == "first line gone":
        assert lines == sound[1].decode().splitlines()[1:]
    else:
        assert log.jsonl_path.read_bytes() == sound[1]
    assert log.csv_path.read_bytes() == sound[0]
    is_whole = damage == "without the last line end" and name == "log.jsonl"  # a closed brace ends a line as well
    assert len(said) == int(not (is_whole or (name == "log.jsonl" and damage == "first line gone")))
    said.clear()
    log.mend(Progress(epoch=2, step=4), said.append)
    assert said == [], "mended once"


def test_a_sound_log_stays_as_it_is(tmp_path: Path) -> None:
    log, sound = written(tmp_path)
    said: list[str] = []
    before = [path.stat().st_ino for path in (log.csv_path, log.jsonl_path)]
    log.mend(Progress(epoch=2, step=4), said.append)
    assert [log.csv_path.read_bytes(), log.jsonl_path.read_bytes()] == sound
    assert [path.stat().st_ino for path in (log.csv_path, log.jsonl_path)] == before
    assert said == []


def test_an_epoch_that_is_lost_in_both_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    RunLog(tmp_path).mend(Progress(epoch=1, step=4), said.append)
    assert said == [f"note: the log of {tmp_path} is mended up to step 4: epoch 1 is lost"]
    assert not list(tmp_path.iterdir())


def test_a_column_that_came_later_is_empty_before(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.epoch({"epoch": 1, "step": 1})
    log.epoch({"epoch": 2, "step": 2, "weight": 0.5})
    whole = log.csv_path.read_bytes()
    log.csv_path.write_bytes(whole[:-4])
    log.mend(Progress(epoch=2, step=2), print)
    assert log.csv_path.read_bytes() == whole


def test_what_is_drawn_is_a_number_after_mending(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for epoch in (1, 2):
        log.epoch({"epoch": epoch, "step": epoch, "train_loss": 0.5, "val_loss": 0.25, "is_best": 1})
    sound = log.csv_path.read_bytes()
    log.csv_path.write_bytes(b"\xef\xbb\xbf" + sound.replace(b"2,2,0.5", b"2,2,half"))
    said: list[str] = []
    log.mend(Progress(epoch=2, step=2), said.append)
    assert log.csv_path.read_bytes() == sound
    assert "epoch 2 of log.csv is restored from log.jsonl" in said[0]


def test_a_column_added_by_hand_stays(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.epoch({"epoch": 1, "step": 1, "loss": 0.5})
    log.csv_path.write_text("epoch,step,mood,loss\n1,1,good,0.5\n")
    log.mend(Progress(epoch=1, step=1), print)
    log.epoch({"epoch": 2, "step": 2, "loss": 0.25, "later": 3})
    assert log.csv_path.read_text().splitlines() == ["epoch,step,mood,loss,later", "1,1,good,0.5,", "2,2,,0.25,3"]


def test_names_that_are_no_text_are_restored(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.jsonl_path.write_text(
        '{"kind": "epoch", "epoch": 1, "step": 1, "note": "\\ud800", "much": 1%s}\n' % ("0" * 400)
    )
    log.mend(Progress(epoch=1, step=1), print)
    log.jsonl_path.unlink()
    log.mend(Progress(epoch=1, step=1), print)
    assert json.loads(log.jsonl_path.read_text())["much"] is None
