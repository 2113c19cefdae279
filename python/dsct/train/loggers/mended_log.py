"""Mends the log of a run that was killed, met a full disk or lost its last blocks with the power."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

#: By which lines of the JSON log are told apart.
KEYS = {"step": ("step",), "epoch": ("epoch",), "skipped": ("split", "index")}

#: How the names of columns begin that ``curves.png`` shows.
DRAWN = ("train_", "val_", "weight_")
_DIGITS = 15  # of a count that can have been reached
_PLAIN = (str, int, float, bool, type(None))

Record = dict[str, Any]
Row = dict[str, str]


def mended(table: bytes, lines: bytes, step: int, epochs: int) -> tuple[bytes, bytes, list[str]]:
    r"""Both files of a log, up to a state of the run.

    Args:
        table: content of ``log.csv``; may be empty.
        lines: content of ``log.jsonl``; may be empty.
        step: optimizer steps done in the state. What was logged of later ones is dropped.
        epochs: epochs finished in the state. An epoch is logged before the state counts it.

    Returns:
        The two contents without torn and doubled lines, each with the epochs that only the other had, and a phrase for
        each thing that was done; sound files come back as they are.

    Example:
        >>> mended(b"", b'{"kind": "step", "step": 1}\n{"kind": "st', 1, 0)
        (b'', b'{"kind": "step", "step": 1}\n', ['1 torn line is left out of log.jsonl'])
    """
    columns, rows, torn_rows = _rows(table)
    records, torn_lines = _records(lines)
    problems = [
        f"{count} torn {'line is' if count == 1 else 'lines are'} left out of {name}"
        for count, name in ((torn_rows, "log.csv"), (torn_lines, "log.jsonl"))
        if count
    ]
    kept_rows = {int(row["epoch"]): row for row in reversed(rows) if _is_done(row, step, epochs)}
    kept = {_key(record): record for record in reversed(records) if _is_done(record, step, epochs)}
    ahead = sum(not _is_done(entry, step, epochs) for entry in (*rows, *records))
    twice = len(rows) + len(records) - ahead - len(kept_rows) - len(kept)
    if twice:
        problems.append(f"{twice} {'line that stood' if twice == 1 else 'lines that stood'} twice left out")
    if ahead:
        problems.append(f"{ahead} later {'line' if ahead == 1 else 'lines'} dropped, to be logged again")
    of_epochs = {record["epoch"]: record for key, record in kept.items() if key[0] == "epoch"}
    for epoch in range(1, epochs + 1):
        if epoch not in kept_rows and epoch not in of_epochs:
            problems.append(f"epoch {epoch} is lost")
        elif epoch not in kept_rows:
            kept_rows[epoch] = _row(of_epochs[epoch])
            problems.append(f"epoch {epoch} of log.csv is restored from log.jsonl")
        elif epoch not in of_epochs:
            kept["epoch", epoch] = _record(kept_rows[epoch])
            problems.append(f"epoch {epoch} of log.jsonl is restored from log.csv")
    return _table(columns, kept_rows), _lines(list(reversed(kept.values()))), problems


def _rows(table: bytes) -> tuple[list[str], list[Row], int]:
    """Columns and whole rows of ``log.csv``, and how many lines are torn. A row is whole with its line end."""
    *whole, rest = table.decode("utf-8-sig", errors="replace").split("\n")
    torn = int(bool(rest))
    columns: list[str] = []
    rows: list[Row] = []
    for line in whole:
        fields = _fields(line.removesuffix("\r"))
        row = dict(zip(columns, fields, strict=False))
        if not columns and {"epoch", "step"} <= set(fields):
            columns = fields
        elif columns and len(fields) == len(columns) and _is_sound(row):
            rows.append(row)
        else:
            torn += 1
    return columns, rows, torn


def _fields(line: str) -> list[str]:
    """Of a line that is none of a table: nothing."""
    try:
        return [] if "\0" in line else next(csv.reader([line]), [])
    except csv.Error:  # such as a field that is longer than any of a log
        return []


def _is_sound(row: Row) -> bool:
    """Whether counts are counts, and what is drawn is a number."""
    counts = all(row[name].isdecimal() and len(row[name]) <= _DIGITS for name in ("epoch", "step"))
    return counts and all(_is_number(text) for name, text in row.items() if name.startswith(DRAWN))


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _records(lines: bytes) -> tuple[list[Record], int]:
    """Whole lines of ``log.jsonl``, and how many are torn."""
    pieces = lines.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    records = [record for record in map(_parsed, pieces) if record is not None]
    return records, len(pieces) - len(records)


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    is_flat = isinstance(record, dict) and all(isinstance(value, _PLAIN) for value in record.values())
    if not is_flat or record.get("kind") not in KEYS:
        return None
    counts = [record.get(name) for name in ("step", *KEYS[record["kind"]]) if name != "split"]
    drawn = (value for name, value in record.items() if record["kind"] == "epoch" and name.startswith(DRAWN))
    is_sound = all(type(count) is int and 0 <= count < 10**_DIGITS for count in counts)
    return record if is_sound and not any(isinstance(value, str) for value in drawn) else None


def _key(record: Record) -> tuple[Any, ...]:
    kind = record["kind"]
    return kind, *(record.get(name) for name in KEYS[kind])


def _is_done(entry: Record | Row, step: int, epochs: int) -> bool:
    is_epoch = entry.get("kind", "epoch") == "epoch"
    return int(entry["step"]) <= step and not (is_epoch and int(entry["epoch"]) > epochs)


def _row(record: Record) -> Row:
    """The row of ``log.csv``; null is a number that does not exist."""
    return {name: "nan" if value is None else str(value) for name, value in record.items() if name != "kind"}


def _record(row: Row) -> Record:
    """The line of ``log.jsonl``; an empty field is of a column that came later."""
    return {"kind": "epoch", **{name: _value(text) for name, text in row.items() if text}}


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            value = kind(text)
            return value if math.isfinite(value) else None
        except (ValueError, OverflowError):
            continue
    return text


def _table(columns: list[str], rows: dict[int, Row]) -> bytes:
    if not rows:
        return b""
    names = list(dict.fromkeys([*columns, *(name for epoch in sorted(rows) for name in rows[epoch])]))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows[epoch] for epoch in sorted(rows))
    return text.getvalue().encode(errors="backslashreplace")


def _lines(records: list[Record]) -> bytes:
    """In the order of the steps, an epoch after its last step."""
    records.sort(key=lambda record: (record["step"], record["kind"] == "epoch"))
    return "".join(json.dumps(record) + "\n" for record in records).encode()
