"""One's own data: a COCO JSON, or a CSV with a row per person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.coco_json import Entry, drafts_from_coco, load_coco_json
from dsct.data.annotation_files.csv_table import read_table
from dsct.data.annotation_files.drafts import Draft, DraftFile, ImageRoot, build
from dsct.data.annotation_files.splits import cut_in_words, cut_validation, split_from_name
from dsct.data.transforms import Transform

_COLUMNS = ("path", "x1", "y1", "x2", "y2", "label")


class CocoDataset(AnnotatedDataset):
    """People with one's own classes, each of one class or, with ``multi_label``, of several.

    Made by :meth:`from_json` or :meth:`from_csv`. ``ds.skipped`` counts what was left out: see
    :func:`dsct.data.annotation_files.drafts.build`. Images without people are kept.
    """

    @classmethod
    def from_json(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        split: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CocoDataset:
        """Reads a COCO JSON; crowds are left out.

        A person's class is ``category_id``. With `multi_label`, several are given as ``"category_ids": [3, 7]``, or as
        ``"attributes": ["happy", 7]``, names or ids; where neither list is there, ``category_id`` is the only one.

        Args:
            path: the file.
            image_root: folder of the images, or several to choose from; ``None`` touches no image file.
            class_names: C names that the categories must be among; when not given, the categories of the file in the
                order of their ids, whatever these are. For a file without categories, ids are positions in it.
            multi_label: labels become (n, C) of 0 and 1.
            split: taken from the file name when not given.
            val_fraction: share of the images cut off for validation; ``split`` ``"train"`` or ``"val"`` says which part
                is wanted. 0 takes the whole file.
            seed: of this choice.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, a category is unknown, or nothing is left.

        Example:
            >>> import json, tempfile
            >>> content = {
            ...     "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}],
            ...     "annotations": [{"id": 1, "image_id": 7, "category_id": 20, "bbox": [1, 2, 3, 4]}],
            ...     "categories": [{"id": 20, "name": "happy"}, {"id": 10, "name": "calm"}],
            ... }
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "train.json")
            ...     _ = path.write_text(json.dumps(content))
            ...     people = CocoDataset.from_json(path)
            >>> people.class_names, people.annotations(0).labels.tolist()
            (('calm', 'happy'), [1])
        """
        path = Path(path)
        content = load_coco_json(path)
        classes = _Classes(path, content.get("categories"), class_names)
        labels_of = classes.several if multi_label else classes.one
        file = drafts_from_coco(path, content, labels_of)
        return cls._build(file, image_root, classes.names, multi_label, split, val_fraction, seed, transforms)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        split: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CocoDataset:
        r"""Reads a CSV with the columns ``path, x1, y1, x2, y2, label``, one row per person, in pixels.

        Several labels are separated by ``|``. A row with a path and nothing else is an image without people. Without
        image root the sizes of the images are guessed: just large enough for their boxes.

        Args:
            path: the file.
            image_root: folder of the images, or several to choose from; ``None`` touches no image file.
            class_names: C names that the labels must be among; when not given, the labels in the file, sorted.
            multi_label: labels become (n, C) of 0 and 1.
            split: as in :meth:`from_json`.
            val_fraction: as in :meth:`from_json`.
            seed: as in :meth:`from_json`.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, a label is unknown, or nothing is left.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "train.csv")
            ...     _ = path.write_text("path,x1,y1,x2,y2,label\na.jpg,1,2,4,6,calm|happy\na.jpg,5,2,9,6,calm")
            ...     people = CocoDataset.from_csv(path, multi_label=True)
            >>> people.class_names, people.annotations(0).labels.tolist()
            (('calm', 'happy'), [[1, 1], [1, 0]])
        """
        path = Path(path)
        rows = _rows(path)
        names = _sorted_labels(rows) if class_names is None else tuple(class_names)
        file = _drafts_from_rows(path, rows, names, multi_label)
        return cls._build(file, image_root, names, multi_label, split, val_fraction, seed, transforms)

    @classmethod
    def _build(
        cls,
        file: DraftFile,
        image_root: ImageRoot | None,
        class_names: Sequence[str],
        multi_label: bool,
        split: str | None,
        val_fraction: float,
        seed: int,
        transforms: Transform | None,
    ) -> CocoDataset:
        split = split or split_from_name(file.path)
        source = "several labels per person" if multi_label else "one label per person"
        if val_fraction != 0:
            file = cut_validation(file, split, val_fraction, seed, stratify=not multi_label)
            source += f", {cut_in_words(split, val_fraction, seed)}"
        return build(
            cls,
            file,
            split=split,
            class_names=class_names,
            multi_label=multi_label,
            image_root=image_root,
            transforms=transforms,
            source=source,
        )


def read_class_names(path: Path) -> tuple[str, ...]:
    """The classes of a COCO JSON or a CSV, in the order in which :class:`CocoDataset` numbers them.

    Args:
        path: the file, ``.json`` or ``.csv``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is malformed.

    Example:
        >>> import json, tempfile
        >>> file = Path(tempfile.mkdtemp()) / "people.json"
        >>> content = {"categories": [{"id": 7, "name": "happy"}, {"id": 2, "name": "calm"}]}
        >>> written = file.write_text(json.dumps({"images": [], "annotations": [], **content}))
        >>> read_class_names(file)
        ('calm', 'happy')
    """
    if path.suffix == ".csv":
        return _sorted_labels(_rows(path))
    return _Classes(path, load_coco_json(path).get("categories"), None).names


class _Classes:
    """Class numbers of COCO categories.

    Attributes:
        names: of the classes.
    """

    def __init__(self, path: Path, categories: Any, class_names: Sequence[str] | None) -> None:
        try:
            by_id = _category_names(categories)
            if class_names is None and not by_id:
                raise ValueError("there are no categories, so class_names must be given")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self.names = tuple(by_id.values()) if class_names is None else tuple(class_names)
        self._by_id = by_id or dict(enumerate(self.names))
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def one(self, entry: Entry) -> tuple[int, ...]:
        """The class of an annotation."""
        if "category_ids" in entry:
            raise ValueError("category_ids is for several labels per person, which needs multi_label=True")
        return (self._number(self._name_of_id(entry.get("category_id"))),)

    def several(self, entry: Entry) -> tuple[int, ...]:
        """The classes of an annotation. An ``attributes`` object, as some annotation tools write, is not a list."""
        if "category_ids" in entry:
            given = entry["category_ids"]
            if not isinstance(given, list):
                raise ValueError(f"category_ids must be a list, got {given!r}")
        elif isinstance(entry.get("attributes"), list):
            given = entry["attributes"]
            return tuple(self._number(one if isinstance(one, str) else self._name_of_id(one)) for one in given)
        else:
            given = [entry.get("category_id")]
        return tuple(self._number(self._name_of_id(one)) for one in given)

    def _name_of_id(self, category_id: Any) -> str:
        if type(category_id) is not int or category_id not in self._by_id:
            raise ValueError(f"category must be one of the ids {', '.join(map(str, self._by_id))}, got {category_id!r}")
        return self._by_id[category_id]

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise ValueError(f"category {name!r} is none of the classes {', '.join(self.names)}")
        return self._numbers[name]


def _category_names(categories: Any) -> dict[int, str]:
    """Id -> name, in the order of the ids."""
    if categories is None:
        return {}
    if not isinstance(categories, list):
        raise ValueError("categories must be a list of objects")
    by_id: dict[int, str] = {}
    for number, entry in enumerate(categories):
        category_id, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if type(category_id) is not int or not isinstance(name, str):
            raise ValueError(f"categories[{number}] must have an integer id and a name, got {entry!r}")
        if category_id in by_id or name in by_id.values():
            raise ValueError(f"categories[{number}]: id {category_id} or name {name!r} occurs twice")
        by_id[category_id] = name
    return dict(sorted(by_id.items()))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    return list(read_table(path, _COLUMNS))


def _sorted_labels(rows: Sequence[tuple[int, dict[str, str]]]) -> tuple[str, ...]:
    return tuple(sorted({label for _, row in rows for label in _split_label(row["label"])}))


def _split_label(text: str) -> list[str]:
    return [label.strip() for label in text.split("|")] if text else []


def _drafts_from_rows(
    path: Path, rows: Sequence[tuple[int, dict[str, str]]], names: Sequence[str], multi_label: bool
) -> DraftFile:
    numbers = {name: number for number, name in enumerate(names)}
    drafts: dict[str, Draft] = {}
    for line, row in rows:
        try:
            if not row["path"]:
                raise ValueError("path must not be empty")
            draft = drafts.setdefault(row["path"], Draft(row["path"]))
            if not any(row[column] for column in _COLUMNS[1:]):
                continue
            x1, y1, x2, y2 = _corners(row)
            draft.labels.append(_class_numbers(row["label"], numbers, multi_label))
            draft.boxes.append((x1, y1, x2, y2))
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
    return DraftFile(path, list(drafts.values()), certain_sizes=False)


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
