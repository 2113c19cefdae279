"""The log of a run: every epoch as a row of ``log.csv``, epochs and some steps as lines of ``log.jsonl``."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dsct.complete_files import replaced_when_complete
from dsct.json_text import parse_json_object
from dsct.train.loggers.mended_log import mended
from dsct.train.progress import Progress
from dsct.train.run_folder.lock import require_lock


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
        kept = (line for line in lines if parse_json_object(line, self.jsonl_path).get("kind") != "skipped")
        self._rewrite(self.jsonl_path, "".join(line + "\n" for line in (*found, *kept)).encode())

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Adds one epoch to both logs; a column that the table did not have is empty before.

        One that only the table has, as somebody added it, stays and is empty from here on.
        """
        if not self._writes:
            return
        self._append_json({"kind": "epoch", **record})
        columns = self._columns()
        wanted = [*columns, *(name for name in record if name not in columns)]
        if wanted != columns:
            self._widen(wanted)
        with _named(self.csv_path), self.csv_path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, wanted, restval="").writerow(record)

    def _columns(self) -> list[str]:
        if not self.csv_path.exists():
            return []
        with self._table() as file:
            return next(csv.reader(file), [])

    def _widen(self, columns: list[str]) -> None:
        """Gives the table these columns."""
        rows: list[dict[str, str]] = []
        if self.csv_path.exists():
            with self._table() as file:
                rows = list(csv.DictReader(file))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        self._rewrite(self.csv_path, text.getvalue().encode())

    @contextmanager
    def _table(self) -> Iterator[TextIO]:
        """The table to read from, which was whole when the run began or went on."""
        try:
            with self.csv_path.open(newline="", encoding="utf-8", errors="replace") as file:
                yield file
        except csv.Error as error:
            raise ValueError(f"{self.csv_path} was damaged during the run: {error}") from error

    def begin(self, say: Callable[[str], None]) -> None:
        """Makes place for the log of a run that begins; one with epochs in it is kept as ``*.old``."""
        if not self._writes:
            return
        has_epochs = self.csv_path.exists() and self.csv_path.read_bytes().count(b"\n") > 1
        for path in (self.csv_path, self.jsonl_path):
            if path.exists() and has_epochs:
                path.replace(path.with_name(f"{path.name}.old"))
                say(f"note: the {path.name} of another run is now {path.name}.old")
            path.unlink(missing_ok=True)

    def mend(self, progress: Progress, say: Callable[[str], None]) -> None:
        """Brings both files to the state from which the run goes on, and says what was wrong with them in one line.

        What was logged after that state is dropped, since the run does and logs it again. Lines that a full disk or a
        power failure left torn are left out; an epoch that one file lacks comes from the other.
        """
        if not self._writes:
            return
        table, lines = (path.read_bytes() if path.exists() else b"" for path in (self.csv_path, self.jsonl_path))
        new_table, new_lines, problems = mended(table, lines, progress.step, progress.epoch)
        for path, old, new in ((self.csv_path, table, new_table), (self.jsonl_path, lines, new_lines)):
            if new and new != old:
                self._rewrite(path, new)
            elif not new:
                path.unlink(missing_ok=True)
        if problems:
            say(f"note: the log of {self.csv_path.parent} is mended up to step {progress.step}: {'; '.join(problems)}")

    def flush(self) -> None:
        """What was logged so far is on the disk afterwards."""
        require_lock(self.csv_path.parent)
        for path in (self.csv_path, self.jsonl_path) if self._writes else ():
            if path.exists():
                with _named(path), path.open("rb+") as file:
                    os.fsync(file.fileno())

    def _append_json(self, record: Mapping[str, Any]) -> None:
        require_lock(self.jsonl_path.parent)
        with _named(self.jsonl_path), self.jsonl_path.open("a", encoding="utf-8") as file:
            # JSON has no NaN: a value that does not exist is null.
            file.write(json.dumps({key: _finite(value) for key, value in record.items()}) + "\n")

    @staticmethod
    def _rewrite(path: Path, content: bytes) -> None:
        require_lock(path.parent)
        with replaced_when_complete(path) as partial:
            partial.write_bytes(content)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error in the middle of a write, such as a full disk, does not name the file by itself."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
