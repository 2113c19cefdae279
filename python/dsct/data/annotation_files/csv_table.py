"""CSV files with a header, row by row, with errors that say where."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path


def read_header(path: Path) -> list[str]:
    """The names in the first line of a CSV file, without surrounding blanks; of any other file something useless.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return [name.strip() for name in next(csv.reader([file.readline(100_000)]), [])]


def read_table(path: Path, columns: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file.

    Args:
        path: the file, UTF-8, with or without byte order mark.
        columns: names that the header must have; others may be there.

    Yields:
        Line number and row, column name -> cell without surrounding blanks. Empty lines are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, a row is too short, or the file is not CSV.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise ValueError(f"the columns {', '.join(columns)} are needed, {', '.join(missing)} is missing")
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise ValueError(f"a row must have {len(header)} cells like the header, got {len(cells)}")
                yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {max(reader.line_num, 1)}: {error}") from error
