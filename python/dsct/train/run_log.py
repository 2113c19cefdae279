"""The log of a run: every epoch as a row of ``log.csv``, epochs and some steps as lines of ``log.jsonl``.

If the ``tensorboard`` package is installed, the same numbers also go to the run's folder ``tensorboard``.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dsct.checkpoint import replaced_when_complete

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Appends to the files of a run. Every record carries ``step``, the optimizer steps done.

    As a context manager it closes TensorBoard's file at the end.

    Args:
        run_dir: existing folder of the run.
        writes: whether to write; of several processes only one does.
    """

    def __init__(self, run_dir: Path, writes: bool = True) -> None:
        self._writes = writes
        self.csv_path = run_dir / "log.csv"
        self.jsonl_path = run_dir / "log.jsonl"
        self._board_dir = run_dir / "tensorboard"
        self._board: SummaryWriter | None = None
        self._rewound_to: int | None = None

    def __enter__(self) -> RunLog:
        if self._writes and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            # TensorBoard itself drops what a stopped run wrote after the step from which it continues.
            purge = None if self._rewound_to is None else self._rewound_to + 1
            self._board = SummaryWriter(str(self._board_dir), purge_step=purge)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def step(self, record: Mapping[str, Any]) -> None:
        """Adds a line about one step to the JSON log."""
        if not self._writes:
            return
        self._append_json({"kind": "step", **record})
        self._show("step", record)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Adds one epoch to both logs; all epochs must have the same keys.

        Raises:
            ValueError: the keys differ from those of the table.
        """
        if not self._writes:
            return
        self._append_json({"kind": "epoch", **record})
        self._show("epoch", record)
        is_new = not self.csv_path.exists()
        if not is_new:
            with self.csv_path.open(newline="", encoding="utf-8") as file:
                columns = next(csv.reader(file))
            if columns != list(record):
                raise ValueError(f"{self.csv_path} has the columns {columns}, got a record with {list(record)}")
        with self.csv_path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(record)
            writer.writerow(record.values())

    def rewind(self, step: int) -> None:
        """Drops what was logged after `step`: a resumed run writes it again."""
        self._rewound_to = step
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

    def _show(self, kind: str, record: Mapping[str, Any]) -> None:
        if self._board is not None:
            for name, value in record.items():
                if name != "step":
                    self._board.add_scalar(f"{kind}/{name}", value, record["step"])

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
