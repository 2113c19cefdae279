"""The classes of a COCO file: which there are, and which a person has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.coco_json import Entry, whole_number
from dsct.data.annotation_files.person_attributes import AttributeLabels, texts
from dsct.data.annotation_files.unusable import UNKNOWN_CATEGORY, Unusable

_PEOPLE = {
    "adult", "body", "boy", "child", "face", "female", "girl", "head", "human", "male", "man", "person", "woman",
}  # fmt: skip


def check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The names that a caller gives.

    Raises:
        ValueError: one is blank or occurs twice, or they are one text.
    """
    names = tuple(class_names)
    if isinstance(class_names, str) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"class_names must be texts that are not blank, got {class_names!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"class_names must be different names, got {', '.join(names)}")
    return names


class Categories:
    """The categories of a file, or the attributes that stand for them where categories only say that this is a person.

    Args:
        content: of the file.
        multi_label: whether a person can have several labels.
        class_names: that the caller wants; categories among them are classes, whatever attributes there are.

    Attributes:
        names: of the classes, in the order of the ids; of attributes, sorted.
        group: name of a category that only groups the others and is no class, or empty.
        attributes: the labels of a file with a single category, or with ``man`` and ``woman`` and the like; ``None`` if
            categories are labels.
        unread: names of check boxes that are no labels because categories are.

    Raises:
        ValueError: the categories are malformed, or attributes hold labels that cannot be used.
    """

    def __init__(self, content: Entry, multi_label: bool, class_names: Sequence[str] | None = None) -> None:
        entries = content.get("categories")
        by_id = _names_by_id(entries)
        used = {number for entry in content["annotations"] for number in _ids(entry)}
        group = _group(entries or [], used) if by_id else None
        self.group = "" if group is None else by_id.pop(group)
        self.by_id = by_id
        self._by_text = {str(number): number for number in by_id}
        names = set(by_id.values())
        of_people = len(names) == 1 or {name.lower() for name in names} <= _PEOPLE
        only_people = names and of_people and not names & set(class_names or ())
        said = AttributeLabels.of(entry.get("attributes") for entry in content["annotations"])
        self.attributes = _attributes(content["annotations"], said, by_id, multi_label) if only_people else None
        self.unread = sorted(said.boxes) if self.attributes is None else []
        self.names = tuple(by_id.values()) if self.attributes is None else self.attributes.class_names

    def labels(self, entry: Entry, multi_label: bool) -> list[str]:
        """The names of a person's classes.

        Raises:
            Unusable: a category is none of the file.
            ValueError: there are several, and `multi_label` is false.
        """
        if "category_ids" in entry:
            if not multi_label:
                raise ValueError(
                    "category_ids is for several labels per person, which needs multi_label=True (--multi-label)"
                )
            if not isinstance(entry["category_ids"], list):
                raise Unusable(UNKNOWN_CATEGORY, f"category_ids must be a list, got {entry['category_ids']!r}")
            return [self._name(one) for one in entry["category_ids"]]
        if multi_label and isinstance(entry.get("attributes"), list):
            return [one if isinstance(one, str) else self._name(one) for one in entry["attributes"]]
        if self.attributes is not None:
            return self.attributes.chosen(entry.get("attributes"))
        return [self._name(entry.get("category_id"))]

    def _name(self, category_id: Any) -> str:
        number = whole_number(category_id)
        if number is None and isinstance(category_id, str):
            number = self._by_text.get(category_id.strip())
        if number is None or number not in self.by_id:
            known = ", ".join(map(str, self.by_id))
            raise Unusable(UNKNOWN_CATEGORY, f"category must be one of the ids {known}, got {category_id!r}")
        return self.by_id[number]


def _names_by_id(categories: Any) -> dict[int, str]:
    """Id -> name, in the order of the ids."""
    if categories is None:
        return {}
    if not isinstance(categories, list):
        raise ValueError("categories must be a list of objects")
    by_id: dict[int, str] = {}
    for place, entry in enumerate(categories):
        number, name = (_id(entry), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if number is None or not isinstance(name, str) or not name.strip():
            raise ValueError(f"categories[{place}] must have an integer id and a name that is not blank, got {entry!r}")
        if number in by_id or name in by_id.values():
            raise ValueError(f"categories[{place}]: id {number} or name {name!r} occurs twice")
        by_id[number] = name
    return dict(sorted(by_id.items()))


def _id(entry: Entry) -> int | None:
    value = entry.get("id")
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return whole_number(value)


def _ids(entry: Entry) -> list[Any]:
    """All that may be category ids of a person, as numbers and as texts."""
    given = [entry.get("category_id")]
    for key in ("category_ids", "attributes"):
        if isinstance(entry.get(key), list):
            given += entry[key]
    return [one for one in given if isinstance(one, (int, float, str))]


def _group(entries: list[Entry], used: set[Any]) -> int | None:
    """The id of a category that nobody has and that groups the others, as Roboflow's first does."""
    above = {entry["name"]: entry.get("supercategory") for entry in entries}
    first = min(entries, key=lambda entry: _id(entry) or 0)
    for entry in entries:
        name, number = entry["name"], _id(entry)
        if number is None or len(entries) < 2 or used & {number, str(number), name}:
            continue
        groups_others = any(group == name for other, group in above.items() if other != name)
        alone_at_the_top = above[name] == "none" and list(above.values()).count("none") == 1
        if groups_others or (alone_at_the_top and entry is first):
            return number
    return None


def _attributes(
    people: list[Entry], found: AttributeLabels, by_id: dict[int, str], multi_label: bool
) -> AttributeLabels | None:
    """The labels of a file whose categories say only that this is a person."""
    # Lists are labels of the file's own: names or ids.
    if any("category_ids" in entry or isinstance(entry.get("attributes"), list) for entry in people):
        return None
    only = f"the only category is {', '.join(map(repr, by_id.values()))}"
    if len(by_id) > 1:
        only = only.replace("the only category is", "the only categories are")
    if not found:
        if found.others and len(by_id) == 1:
            raise ValueError(
                f"{only}, and of its attributes, {', '.join(sorted(found.others))}, none is a check box or a select "
                "with text, so nothing can be a label"
            )
        unread = {name for entry in people for name in texts(entry.get("attributes"))}
        if multi_label and unread and len(by_id) == 1:
            raise ValueError(
                f"{only}, and none of its attributes, {', '.join(sorted(unread))}, says what a person feels"
            )
        return None
    if not multi_label and (found.boxes or len(found.selects) > 1):
        raise ValueError(
            f"{only}, so the labels are the attributes, {found}: several per person, which needs multi_label=True "
            "(--multi-label)"
        )
    return found


def read_categories(
    path: Path, content: Entry, multi_label: bool, class_names: Sequence[str] | None = None
) -> Categories:
    """As `Categories`; messages name the file."""
    try:
        return Categories(content, multi_label, class_names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
