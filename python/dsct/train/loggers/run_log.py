"""The log of a run: every epoch as a row of ``log.csv``, epochs and some steps as lines of ``log.jsonl``."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsct.checkpoint import replaced_when_complete


class RunLog:
    """Appends to the files of a run. Every record carries ``step``, the optimizer steps done.

    Args:
        run_dir: existing folder of the run.
        writes: whether to write; of several processes only one does.
    """

    def __init__(self, run_dir: Path, writes: bool = True) -> None:
        self._writes = writes
        self.csv_path = run_dir / "log.csv"
        self.jsonl_path = run_dir / "log.jsonl"

    def step(self, record: Mapping[str, Any]) -> None:
        """Adds a line about one step to the JSON log."""
        if not self._writes:
            return
        self._append_json({"kind": "step", **record})

    def skipped(self, images: Mapping[str, Mapping[int, str]]) -> None:
        """Begins the JSON log with a line for every image that cannot be read, by split; earlier ones are replaced."""
        if not self._writes or not (self.jsonl_path.exists() or any(images.values())):
            return
        lines = self.jsonl_path.read_text(encoding="utf-8").splitlines() if self.jsonl_path.exists() else []
        found = [
            json.dumps({"kind": "skipped", "step": 0, "split": split, "index": index, "problem": problem})
            for split, problems in images.items()
            for index, problem in problems.items()
        ]
        kept = (line for line in lines if json.loads(line)["kind"] != "skipped")
        self._rewrite(self.jsonl_path, "".join(line + "\n" for line in (*found, *kept)))

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Adds one epoch to both logs; a column that the table did not have is empty before.

        Raises:
            ValueError: a column of the table is missing.
        """
        if not self._writes:
            return
        self._append_json({"kind": "epoch", **record})
        columns = self._columns()
        missing = [name for name in columns if name not in record]
        if missing:
            raise ValueError(f"{self.csv_path} has the columns {missing}, got a record with {list(record)}")
        wanted = [*columns, *(name for name in record if name not in columns)]
        if wanted != columns:
            self._widen(wanted)
        with self.csv_path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, wanted).writerow(record)

    def _columns(self) -> list[str]:
        if not self.csv_path.exists():
            return []
        with self.csv_path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])

    def _widen(self, columns: list[str]) -> None:
        """Gives the table these columns."""
        rows: list[dict[str, str]] = []
        if self.csv_path.exists():
            with self.csv_path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        self._rewrite(self.csv_path, text.getvalue())

    def rewind(self, step: int) -> None:
        """Drops what was logged after `step`: a resumed run writes it again."""
        if not self._writes:
            return
        if self.jsonl_path.exists():
            lines = self.jsonl_path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self._rewrite(self.jsonl_path, "".join(line + "\n" for line in kept))
        if self.csv_path.exists():
            with self.csv_path.open(newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file))
            column = header.index("step")
            text = io.StringIO(newline="")
            csv.writer(text).writerows([header, *(row for row in rows if int(row[column]) <= step)])
            self._rewrite(self.csv_path, text.getvalue())

    def _append_json(self, record: Mapping[str, Any]) -> None:
        with self.jsonl_path.open("a", encoding="utf-8") as file:
            # JSON has no NaN: a value that does not exist is null.
            file.write(json.dumps({key: _finite(value) for key, value in record.items()}) + "\n")

    @staticmethod
    def _rewrite(path: Path, text: str) -> None:
        with replaced_when_complete(path) as partial:
            partial.write_bytes(text.encode())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
