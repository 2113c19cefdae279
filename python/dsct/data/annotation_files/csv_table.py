"""CSV files with a header, row by row, with errors that say where."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_NOT_UTF_8 = "the text must be UTF-8, save it so"


def read_header(path: Path) -> list[str]:
    """The names in the first line of a CSV file, without surrounding blanks; of any other file something useless.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        line = file.readline(100_000)
    return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]


def read_table(
    path: Path, columns: Collection[str], ragged: Callable[[int, str], None] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file.

    Args:
        path: the file, UTF-8, with or without byte order mark; separated by commas, semicolons or tabs.
        columns: names that the header must have; others may be there.
        ragged: called with line number and sentence for a row that is too short or too long, which is then skipped.

    Yields:
        Line number and row, column name -> cell without surrounding blanks. Empty lines are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing or there twice, the file is not CSV in UTF-8, or a row is ragged and nobody
            wants to know of it.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            delimiter = _delimiter(file.readline())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {_NOT_UTF_8}: {error}") from error
        file.seek(0)
        reader = csv.reader(file, strict=True, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(reader, [])]
            if twice := [name for name, times in Counter(filter(None, header)).items() if times > 1]:
                raise ValueError(f"the columns must have different names, {twice[0]} occurs twice")
            missing = [name for name in columns if name not in header]
            if missing:
                raise ValueError(f"the columns {', '.join(columns)} are needed, {', '.join(missing)} is missing")
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    sentence = f"a row must have {len(header)} cells like the header, got {len(cells)}"
                    if ragged is None:
                        raise ValueError(sentence)
                    ragged(reader.line_num, sentence)
                    continue
                yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {_NOT_UTF_8}: {error}") from error
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {max(reader.line_num, 1)}: {error}") from error


def _delimiter(header: str) -> str:
    """Comma, or what spreadsheets write where the comma separates decimals, or a tab."""
    return next((one for one in ",;\t" if one in header), ",")
