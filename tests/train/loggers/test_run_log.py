"""The files that a run writes."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from dsct.train.loggers.run_log import RunLog


def test_log_rewinds_to_a_step(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.step({"step": step, "loss": math.nan})
        log.epoch({"epoch": step, "step": step, "note": "a, b"})
    log.rewind(2)
    lines = [json.loads(line) for line in log.jsonl_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 1, 2, 2]
    assert lines[0]["loss"] is None
    log.epoch({"epoch": 3, "step": 3, "note": "again"})
    with log.csv_path.open(newline="") as file:
        assert [row["note"] for row in csv.DictReader(file)] == ["a, b", "a, b", "again"]
    with pytest.raises(ValueError, match="columns"):
        log.epoch({"epoch": 4, "step": 4})
