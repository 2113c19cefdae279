"""Your own COCO JSON, with any categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsct.data.annotation_files.categories import Categories, check_class_names, read_categories
from dsct.data.annotation_files.coco_json import Entry, load_coco_json, raw_images
from dsct.data.annotation_files.person_attributes import texts
from dsct.data.annotation_files.raw_annotations import RawAnnotations
from dsct.data.annotation_files.splits import split_from_name

_GROUP = "category that only groups others"


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

    def class_names(self, multi_label: bool) -> tuple[str, ...]:
        """The categories of the file in the order of their ids; for a single one with attributes, these.

        Args:
            multi_label: whether a person can have several.

        Raises:
            ValueError: the file has no categories, or they are malformed.
        """
        return self._names(read_categories(self.path, self._content, multi_label), None)

    def people(self, class_names: Sequence[str] | None, multi_label: bool) -> RawAnnotations:
        """The images of the file.

        Args:
            class_names: C names that the categories must be among; ``None`` takes those of the file.
            multi_label: whether a person can have several.

        Raises:
            ValueError: the file is malformed, or a category is not among the classes.
        """
        categories = read_categories(self.path, self._content, multi_label, class_names)
        names = self._names(categories, class_names)
        if not categories.by_id:
            categories.by_id = dict(enumerate(names))
        numbers = {name: number for number, name in enumerate(names)}

        def labels_of(entry: Entry) -> tuple[int, ...]:
            labels = categories.labels(entry, multi_label)
            if unknown := [name for name in labels if name not in numbers]:
                raise ValueError(f"category {unknown[0]!r} is none of the classes {', '.join(names)}")
            return tuple(numbers[name] for name in labels)

        def attributes_of(entry: Entry) -> dict[str, str]:
            used = categories.attributes.selects if categories.attributes is not None else {}
            return {name: text for name, text in texts(entry.get("attributes")).items() if name not in used}

        images, changes = raw_images(self.path, self._content, labels_of, attributes_of)
        if categories.group:
            changes.mend(_GROUP, categories.group)
        source = "several labels per person" if multi_label else "one label per person"
        if categories.attributes is not None:
            source += f", from the attributes {categories.attributes}"
        if categories.unread:
            source += f", without the check boxes {', '.join(categories.unread)}"
        split = split_from_name(self.path)
        return RawAnnotations(self.path, split, images, names, multi_label, source, certain_sizes=True, changes=changes)

    def _names(self, categories: Categories, class_names: Sequence[str] | None) -> tuple[str, ...]:
        if class_names is not None:
            return check_class_names(class_names)
        if not categories.names:
            raise ValueError(f"{self.path}: there are no categories, so class_names must be given")
        return categories.names
