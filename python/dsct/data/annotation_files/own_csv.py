"""Your own CSV, with a row per person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsct.data.annotation_files.csv_table import read_table
from dsct.data.annotation_files.raw_annotations import RawAnnotations, RawImage, RawPerson
from dsct.data.annotation_files.splits import split_from_name

_COLUMNS = ("path", "x1", "y1", "x2", "y2", "label")


class OwnCsv:
    """The file, parsed once; its people can be numbered by its own labels or by those of another file.

    Args:
        path: the file, with the columns ``path, x1, y1, x2, y2, label``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not CSV, or a column is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = list(read_table(path, _COLUMNS))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels in the file, sorted."""
        return tuple(sorted({label for _, row in self._rows for label in _split_label(row["label"])}))

    def people(self, class_names: Sequence[str] | None, multi_label: bool) -> RawAnnotations:
        """The images of the file; their sizes are a guess.

        Args:
            class_names: C names that the labels must be among; ``None`` takes those of the file.
            multi_label: whether a person can have several.

        Raises:
            ValueError: a row is malformed, or a label is unknown.
        """
        names = self.class_names if class_names is None else tuple(class_names)
        numbers = {name: number for number, name in enumerate(names)}
        images: dict[str, RawImage] = {}
        for line, row in self._rows:
            try:
                if not row["path"]:
                    raise ValueError("path must not be empty")
                image = images.setdefault(row["path"], RawImage(row["path"]))
                if not any(row[column] for column in _COLUMNS[1:]):
                    continue
                x1, y1, x2, y2 = _corners(row)
                labels = _class_numbers(row["label"], numbers, multi_label)
                image.people.append(RawPerson((x1, y1, x2, y2), labels))
            except ValueError as error:
                raise ValueError(f"{self.path}, line {line}: {error}") from error
        source = "several labels per person" if multi_label else "one label per person"
        return RawAnnotations(self.path, split_from_name(self.path), list(images.values()), names, multi_label, source)


def _split_label(text: str) -> list[str]:
    return [label.strip() for label in text.split("|")] if text else []


def _corners(row: dict[str, str]) -> list[float]:
    values = [row[column] for column in _COLUMNS[1:5]]
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise ValueError(f"x1, y1, x2, y2 must be numbers, got {', '.join(values)}") from error


def _class_numbers(text: str, numbers: dict[str, int], multi_label: bool) -> tuple[int, ...]:
    labels = _split_label(text)
    unknown = [label for label in labels if label not in numbers]
    if unknown or "" in labels:
        raise ValueError(f"label {text!r} must be among the classes {', '.join(numbers)}")
    if len(labels) > 1 and not multi_label:
        raise ValueError(f"label {text!r} names several classes, which needs multi_label=True")
    return tuple(numbers[label] for label in labels)
