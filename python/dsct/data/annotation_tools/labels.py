"""Which of the things that a tool says about a box are its emotions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dsct.data.annotation_files.person_attributes import NOT_LABELS

Said: TypeAlias = "bool | float | str | tuple[str, ...]"
"""A check box, a number, a text, or several choices."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PERSON_WORDS = _words(
    "body bodies child children face faces head heads human humans man men people person persons subject woman women"
)
"""Box labels that say that there is a person, and nothing about the emotion."""

_EMOTION_WORDS = _words(
    "affect affects categories category choice choices class classes emotion emotions expression expressions feeling "
    "feelings label labels mood moods sentiment"
)
_ABOUT_THE_BOX = NOT_LABELS | _words("flags group_id interpolated pose")
_ABOUT_THE_PERSON = _words("age comment comments description ethnicity gender id name note notes race remark sex")
_CONTINUOUS = ("valence", "arousal", "dominance")
_NOTHING = frozenset({"", "__undefined__", "none", "n/a"})


@dataclass(frozen=True)
class PersonLabels:
    """What is known about a person, by name."""

    labels: tuple[str, ...]
    continuous: tuple[float, float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def labels_of(people: Sequence[tuple[Sequence[str], Mapping[str, Said]]]) -> tuple[list[PersonLabels], str]:
    """The labels of all people of an export.

    True check boxes are labels, and so is what an attribute or choice says whose name speaks of emotions, such as
    ``emotion`` or ``expression``, or that is the only one that can. Labels of the boxes are classes as well, unless
    they only say that this is a person, or every box has the same one. Without any emotion beside them they are the
    classes, whatever they are.

    Args:
        people: box labels, and attribute -> value, of every person.

    Returns:
        One entry per person, and a phrase for where labels come from.

    Raises:
        ValueError: all boxes are labelled as people, and several attributes may hold the emotions.

    Example:
        >>> people, source = labels_of([(["person"], {"emotion": "calm", "gender": "female"})])
        >>> people[0].labels, dict(people[0].attributes), source
        (('calm',), {'gender': 'female'}, 'emotion')
    """
    on_boxes = {name for names, _ in people for name in names}
    classes = {name for name in on_boxes if name.lower() not in PERSON_WORDS}
    holders = _holders([said for _, said in people], classes)
    found = [_chosen(said, holders, classes) for _, said in people]
    if any(found):
        used = classes if len(on_boxes) > 1 else set()
        sources = [*(["box labels"] if used else []), *sorted(holders)]
        if any(value is True and name not in holders for _, said in people for name, value in said.items()):
            sources.append("check boxes")
    else:
        used, sources = on_boxes, ["box labels"]
    labels = [
        tuple(dict.fromkeys([name for name in names if name in used] + chosen))
        for (names, _), chosen in zip(people, found, strict=True)
    ]
    known = [
        PersonLabels(one, _continuous(said), _attributes(said, holders, set(one)))
        for one, (_, said) in zip(labels, people, strict=True)
    ]
    return known, " and ".join(sources)


def _holders(people: Sequence[Mapping[str, Said]], classes: set[str]) -> set[str]:
    """Names of the attributes whose value is an emotion."""
    texts = {name for said in people for name, value in said.items() if _is_text(value) and not _is_known(name)}
    named = {name for name in texts if speaks_of_emotions(name)}
    if named or classes or not texts:
        return named
    if any(value is True and not _is_known(name) for said in people for name, value in said.items()):
        return set()
    if len(texts) > 1:
        raise ValueError(
            f"all boxes are labelled as people, and any of the attributes {', '.join(sorted(texts))} may hold the "
            "emotions: name the one that does 'emotion'"
        )
    return texts


def written(text: str) -> Said:
    """A text, or the check box that it is: many forms write these as ``true`` and ``false``.

    Example:
        >>> written(" True "), written("calm ")
        (True, 'calm')
    """
    text = text.strip()
    return {"true": True, "false": False}.get(text.lower(), text)


def speaks_of_emotions(name: str) -> bool:
    """Whether an attribute, choice or column holds emotions, by its name.

    Example:
        >>> speaks_of_emotions("Facial_Expression"), speaks_of_emotions("gaze")
        (True, False)
    """
    return bool(set(re.findall(r"[a-z]+", name.lower())) & _EMOTION_WORDS)


def _is_text(value: Said) -> bool:
    """Whether a value can be the name of an emotion."""
    return any(math.isnan(_number(text)) for text in texts_of(value))


def _is_known(name: str) -> bool:
    """Whether an attribute is about something else than emotions, by its name."""
    return name.lower() in _ABOUT_THE_BOX | _ABOUT_THE_PERSON | set(_CONTINUOUS)


def _chosen(said: Mapping[str, Said], holders: set[str], classes: set[str]) -> list[str]:
    """The emotions that are said of a person. Where boxes name classes, only check boxes of these names count."""
    chosen: list[str] = []
    for name, value in said.items():
        if name in holders:
            chosen += texts_of(value)
        elif value is True and not _is_known(name) and (len(classes) < 2 or name in classes):
            chosen.append(name)
    return chosen


def both(first: Mapping[str, Said], second: Mapping[str, Said]) -> dict[str, Said]:
    """What two boxes at one place say about the person: every check box, every choice; of other values the second.

    Example:
        >>> both({"emotion": "calm", "bored": True}, {"emotion": "sad", "bored": False})
        {'emotion': ('calm', 'sad'), 'bored': True}
    """
    found = {**first, **second}
    for name in first.keys() & second.keys():
        texts = (*texts_of(first[name]), *texts_of(second[name]))
        if first[name] is True:
            found[name] = True
        elif first[name] != second[name] and texts:
            found[name] = tuple(dict.fromkeys(texts))
    return found


def texts_of(value: Said) -> list[str]:
    """The choices in a value: several, or one text in which commas, semicolons or bars separate them."""
    if isinstance(value, (bool, float, int)):
        return []
    parts = re.split(r"[,;|]", value) if isinstance(value, str) else value
    return [part.strip() for part in parts if part.strip().lower() not in _NOTHING]


def _continuous(said: Mapping[str, Said]) -> tuple[float, float, float] | None:
    by_name = {name.lower(): value for name, value in said.items()}
    valence, arousal, dominance = (_number(by_name.get(name, "")) for name in _CONTINUOUS)
    known = not all(map(math.isnan, (valence, arousal, dominance)))
    return (valence, arousal, dominance) if known else None


def _number(value: Said) -> float:
    try:
        return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        return math.nan


def _attributes(said: Mapping[str, Said], holders: set[str], labels: set[str]) -> dict[str, str]:
    """What else is said, as text."""
    found = {}
    for name, value in said.items():
        if name in holders or name in labels or name.lower() in _ABOUT_THE_BOX | set(_CONTINUOUS):
            continue
        if isinstance(value, bool):
            continue
        text = ", ".join(value) if isinstance(value, tuple) else str(value).strip()
        if text.lower() not in _NOTHING:
            found[name] = text
    return found
