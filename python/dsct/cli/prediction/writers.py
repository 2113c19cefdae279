"""How the results of ``dsct predict`` are written: text, JSON, JSON lines and CSV.

Every result is written at once and nothing is kept, so that a run of any length takes no memory, and one that ends
early leaves complete files with the results so far.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import typer

from dsct.complete_files import errors_named, make_folder_of
from dsct.prediction.people import People


class Result(NamedTuple):
    """The people of an image, or of the frame of a video `time` seconds from its beginning."""

    path: Path
    time: float | None
    people: People

    def to_dict(self) -> dict[str, Any]:
        """`People.to_dict`; for a frame, `image` is the video and `time` comes after it."""
        content = self.people.to_dict()
        if self.time is None:
            return content
        del content["image"]
        return {"image": str(self.path), "time": self.time, **content}


class Format(ABC):
    """The format in which results are written one after another.

    Attributes:
        begin: what comes before the first one.
    """

    begin = ""

    @abstractmethod
    def record(self, result: Result) -> str:
        """The text of the next result."""

    def end(self) -> str:
        """What comes after the last one."""
        return ""


class Text(Format):
    """Text for people; the note about the weights comes once, at the end."""

    def __init__(self) -> None:
        self._note: str | None = None

    def record(self, result: Result) -> str:
        """Heading, and a line per person."""
        heading = str(result.path) if result.time is None else f"{result.path} at {result.time:.2f} s"
        self._note = result.people.note
        return f"{dataclasses.replace(result.people, source=heading, note=None)}\n"

    def end(self) -> str:
        """The note."""
        return f"note: {self._note}\n" if self._note else ""


class Json(Format):
    """One array with an object per image or frame, each on a line of its own or, with `indent`, spread out."""

    begin = "["

    def __init__(self, indent: int | None = None) -> None:
        self._indent = indent
        self._before = ""

    def record(self, result: Result) -> str:
        """The object, and its separator from the previous one."""
        text = json.dumps(result.to_dict(), ensure_ascii=False, indent=self._indent)
        margin = "\n" + " " * (self._indent or 0)
        before, self._before = self._before, ","
        # JSON has no bare line breaks inside its strings.
        return before + margin + text.replace("\n", margin)

    def end(self) -> str:
        """The end of the array."""
        return "\n]\n"


class JsonLines(Format):
    """An object per image or frame, a line each."""

    def record(self, result: Result) -> str:
        """The line."""
        return json.dumps(result.to_dict(), ensure_ascii=False) + "\n"


class Csv(Format):
    """A row per person: image, time (empty for images), person (from 1), x1 to y2, score, labels, every class."""

    def __init__(self) -> None:
        self._has_header = False

    def record(self, result: Result) -> str:
        """The rows of one image or frame; before the first, the header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._has_header:
            columns = ("image", "time", "person", "x1", "y1", "x2", "y2", "score", "labels")
            writer.writerow([*columns, *result.people.class_names])
            self._has_header = True
        for number, person in enumerate(result.people, start=1):
            labels = ", ".join(person.labels)
            place = (str(result.path), result.time, number, *person.box)
            writer.writerow([*place, person.score, labels, *person.probabilities.values()])
        return text.getvalue()


_FORMATS: dict[str, type[Json | JsonLines | Csv]] = {".json": Json, ".jsonl": JsonLines, ".csv": Csv}


def format_of(path: Path) -> Format:
    """The format that the suffix of a file's name stands for.

    Raises:
        ValueError: the suffix is unknown.
    """
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise ValueError(f"--out must end in {', '.join(_FORMATS)}, got {str(path)!r}")
    return _FORMATS[suffix]()


class ResultFile:
    """Writes results to a file or, without `path`, prints them. For a ``with`` block, however that ends.

    The file is complete after each result, with what comes after the last one; the next result replaces that. On a full
    disk it keeps the results before. An error before the first result leaves no file.

    Args:
        format: the format.
        path: the file; missing folders are created, and an older file is overwritten.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, format: Format, path: Path | None = None) -> None:
        self._format, self._path, self._file = format, path, None
        self._place = 0  # of the next result
        self._replaces = False  # what comes after the last result
        self._is_empty = True
        if path is not None:
            make_folder_of(path)
            self._file = path.open("wb", buffering=0)
            self._replaces = path.is_file()  # no pipe or device
        try:
            self._put(format.begin)
        except OSError:
            self._close(failed=True)
            raise

    def write(self, result: Result) -> None:
        """Writes one result."""
        self._put(self._format.record(result))
        self._is_empty = False

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if not self._replaces:
                self._put(self._format.end())
        finally:
            self._close(failed=isinstance(error, Exception))

    def _close(self, failed: bool) -> None:
        if self._file is not None:
            self._file.close()
            assert self._path is not None
            if failed and self._is_empty and self._replaces and not self._path.is_symlink():  # such as /dev/stdout
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def _put(self, text: str) -> None:
        if self._file is None:
            typer.echo(_encoded(text), nl=False)
            return
        content, end = _encoded(text), _encoded(self._format.end()) if self._replaces else b""
        assert self._path is not None
        try:
            with errors_named(self._path):
                self._write(content + end)
        except OSError:
            if self._replaces:
                with contextlib.suppress(OSError):
                    self._write(end)
                    self._file.truncate(self._place + len(end))
            raise
        self._place += len(content)

    def _write(self, content: bytes) -> None:
        """Writes all of it after the last result; unbuffered, as a buffer would be written again at the end."""
        assert self._file is not None
        if self._replaces:
            self._file.seek(self._place)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]


def _encoded(text: str) -> bytes:
    r"""Names of files that are not text come as \udc.., which JSON reads back as what they were."""
    return text.encode("utf-8", "backslashreplace")
