"""Your own CSV, with a row per person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsct.data.annotation_files.categories import check_class_names
from dsct.data.annotation_files.csv_table import read_table
from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, RawPerson
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_files.unusable import MALFORMED_ROW, require_any

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
        self._ragged: list[tuple[int, str]] = []
        self._rows = list(read_table(path, _COLUMNS, lambda line, sentence: self._ragged.append((line, sentence))))

    def class_names(self, multi_label: bool) -> tuple[str, ...]:
        """The labels in the file, sorted.

        Args:
            multi_label: makes no difference.
        """
        return tuple(sorted({label for _, row in self._rows for label in _split_label(row["label"]) if label}))

    def people(self, class_names: Sequence[str] | None, multi_label: bool) -> RawAnnotations:
        """The images of the file; their sizes are a guess. Single rows that cannot be used are left out and counted.

        Args:
            class_names: C names that the labels must be among; ``None`` takes those of the file.
            multi_label: whether a person can have several.

        Raises:
            ValueError: a label is not among the classes, there are several for one person, or no row can be used.
        """
        names = self.class_names(multi_label) if class_names is None else check_class_names(class_names)
        numbers = {name: number for number, name in enumerate(names)}
        images: dict[str, RawImage] = {}
        changes = Changes()
        for line, sentence in self._ragged:
            changes.lose(MALFORMED_ROW, f"line {line}: {sentence}")
        for line, row in self._rows:
            if not row["path"]:
                changes.lose(MALFORMED_ROW, f"line {line}: path must not be empty")
                continue
            new = RawImage(row["path"])
            image = images.setdefault(new.name, new)
            if not any(row[column] for column in _COLUMNS[1:]):
                continue
            try:
                x1, y1, x2, y2 = _corners(row)
                labels = _labels(row["label"])
            except ValueError as error:
                image.leave_out(MALFORMED_ROW, f"line {line}: {error}")
                continue
            image.people.append(RawPerson((x1, y1, x2, y2), self._numbers(line, labels, numbers, multi_label)))
        require_any(self.path, images.values(), changes, "row")
        source = "several labels per person" if multi_label else "one label per person"
        if unread := [name for name in (self._rows[0][1] if self._rows else ()) if name and name not in _COLUMNS]:
            source += f", without the columns {', '.join(unread)}"
        split = split_from_name(self.path)
        return RawAnnotations(self.path, split, list(images.values()), names, multi_label, source, changes=changes)

    def _numbers(self, line: int, labels: list[str], numbers: dict[str, int], multi_label: bool) -> tuple[int, ...]:
        if unknown := [label for label in labels if label not in numbers]:
            known = ", ".join(numbers)
            raise ValueError(f"{self.path}, line {line}: label {unknown[0]!r} is none of the classes {known}")
        if len(labels) > 1 and not multi_label:
            raise ValueError(
                f"{self.path}, line {line}: label {'|'.join(labels)!r} names several classes, which needs "
                "multi_label=True (--multi-label)"
            )
        return tuple(numbers[label] for label in labels)


def _split_label(text: str) -> list[str]:
    return [label.strip() for label in text.split("|")] if text else []


def _labels(text: str) -> list[str]:
    labels = _split_label(text)
    if "" in labels:
        raise ValueError(f"label {text!r} must name classes, separated by |, none of them blank")
    return labels


def _corners(row: dict[str, str]) -> list[float]:
    values = [row[column] for column in _COLUMNS[1:5]]
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise ValueError(f"x1, y1, x2, y2 must be numbers, got {', '.join(values)}") from error
