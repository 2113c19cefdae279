"""Labels that annotation tools write as attributes of a person: check boxes and selects, as CVAT does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NOT_LABELS = {
    "crowd", "difficult", "is_crowd", "iscrowd", "keyframe", "occluded", "outside", "rotation", "source", "track_id",
    "truncated", "z_order",
}  # fmt: skip
"""Attributes by which tools describe the box and not the person."""

_NO_EMOTIONS = {"age", "comment", "ethnicity", "gender", "id", "name", "note", "notes", "race", "sex"}
_EMOTIONS = {"affect", "class", "emotion", "emotions", "expression", "feeling", "feelings", "label", "labels", "mood"}

_NO_CHOICE = {"", "__undefined__"}
_BOX = {"true": True, "false": False}


@dataclass(frozen=True)
class AttributeLabels:
    """The attributes of all people of a file.

    Attributes:
        boxes: names of the check boxes, each a label.
        selects: name -> the texts in the file, each a label. Of several selects, those whose names speak of emotions,
            if there are such; never ``age``, ``gender`` and the like.
        others: names of attributes that can be neither.
    """

    boxes: frozenset[str]
    selects: dict[str, frozenset[str]]
    others: frozenset[str]

    @classmethod
    def of(cls, people: Iterable[Any]) -> AttributeLabels:
        """From the ``attributes`` objects of a file; anything that is none is passed over.

        Example:
            >>> found = AttributeLabels.of([{"happy": True, "mood": "calm", "occluded": False, "level": 3}])
            >>> set(found.boxes), found.selects, set(found.others)
            ({'happy'}, {'mood': frozenset({'calm'})}, {'level'})
        """
        boxes: set[str] = set()
        selects: dict[str, set[str]] = {}
        others: set[str] = set()
        for attributes in people:
            for name, value in attributes.items() if isinstance(attributes, dict) else ():
                if name.lower() in NOT_LABELS or not name.strip():
                    continue
                if _checked(value) is not None:
                    boxes.add(name)
                elif isinstance(value, str):
                    selects.setdefault(name, set()).update({value.strip()} - _NO_CHOICE)
                elif value is not None:
                    others.add(name)
        # A select without any text says nothing, and may be a check box that was left blank.
        texts = {
            name: frozenset(found) for name, found in selects.items() if found and name.lower() not in _NO_EMOTIONS
        }
        emotions = {name for name in texts if set(re.findall("[a-z]+", name.lower())) & _EMOTIONS}
        chosen = {name: found for name, found in texts.items() if name in emotions or not emotions}
        return cls(frozenset(boxes - set(texts)), chosen, frozenset(others - boxes - set(texts)))

    def __bool__(self) -> bool:
        """Whether there is an attribute that can be a label."""
        return bool(self.boxes or self.selects)

    @property
    def class_names(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted(self.boxes.union(*self.selects.values())))

    def chosen(self, attributes: Any) -> list[str]:
        """The labels of one person: the true check boxes, and the text of every select."""
        if not isinstance(attributes, dict):
            return []
        found = []
        for name, value in attributes.items():
            if name in self.boxes and _checked(value):
                found.append(name)
            elif name in self.selects and isinstance(value, (str, bool)):
                text = str(value).strip()
                if text in self.selects[name]:
                    found.append(text)
        return list(dict.fromkeys(found))

    def __str__(self) -> str:
        """The names of the attributes."""
        return ", ".join(sorted({*self.boxes, *self.selects}))


def texts(attributes: Any) -> dict[str, str]:
    """What an ``attributes`` object says in words about a person.

    Example:
        >>> texts({"gender": "female", "occluded": False, "mood": ""})
        {'gender': 'female'}
    """
    if not isinstance(attributes, dict):
        return {}
    return {
        name: value.strip()
        for name, value in attributes.items()
        if isinstance(value, str) and name.lower() not in NOT_LABELS and value.strip() not in _NO_CHOICE
    }


def _checked(value: Any) -> bool | None:
    """Whether a check box is checked; ``None`` for what is no check box."""
    if isinstance(value, bool):
        return value
    return _BOX.get(value.strip().lower()) if isinstance(value, str) else None
