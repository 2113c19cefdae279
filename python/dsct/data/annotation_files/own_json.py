"""Your own COCO JSON, with any categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.coco_json import Entry, load_coco_json, raw_images
from dsct.data.annotation_files.raw_annotations import RawAnnotations
from dsct.data.annotation_files.splits import split_from_name


class OwnJson:
    """The file, parsed once; its people can be numbered by its own categories or by those of another file.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a COCO JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = load_coco_json(path)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The categories of the file in the order of their ids.

        Raises:
            ValueError: the file has no categories, or they are malformed.
        """
        return self._classes(None).names

    def people(self, class_names: Sequence[str] | None, multi_label: bool) -> RawAnnotations:
        """The images of the file.

        Args:
            class_names: C names that the categories must be among; ``None`` takes those of the file.
            multi_label: whether a person can have several.

        Raises:
            ValueError: the file is malformed, or a category is unknown.
        """
        classes = self._classes(class_names)
        images = raw_images(self.path, self._content, classes.several if multi_label else classes.one)
        source = "several labels per person" if multi_label else "one label per person"
        split = split_from_name(self.path)
        return RawAnnotations(self.path, split, images, classes.names, multi_label, source, certain_sizes=True)

    def _classes(self, class_names: Sequence[str] | None) -> _Classes:
        return _Classes(self.path, self._content.get("categories"), class_names)


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
