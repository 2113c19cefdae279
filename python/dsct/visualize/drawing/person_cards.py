"""The content of a person's card, and what is wrong in it: text only, drawn by `dsct.visualize.drawing.panel`."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from dsct.prediction.people import People, Person, Truth
from dsct.prediction.person_colors import WRONG_COLOR, person_color

# Not everybody can see red. MISSED: of a true emotion that is not reported.
RIGHT, WRONG, MISSED = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{WHITE CIRCLE}"

#: People on an image that have a box and a card, and as many who were missed; others are a number in words.
MOST_DRAWN = 100

_ROWS = 64  # of boxes that are compared with all others at one time
_TRUTH_WIDTH = 36  # characters
_TRUTH_LINES = 4
_NAME_LENGTH = 17  # characters: the longest EMOTIC class, Doubt/Confusion, fits with its mark


@dataclass(frozen=True)
class Comparison:
    """True boxes and names of an image; for each person the matching row of the truth, or None."""

    boxes: NDArray[np.float32]
    names: list[list[str]]
    truth_of: list[int | None]

    def is_wrong(self, person: int, label: str) -> bool:
        """Whether `label` is not true of this person, or there is no such person."""
        truth = self.truth_of[person]
        return truth is None or label not in self.names[truth]

    def not_reported(self, person: int, reported: Collection[str]) -> list[str]:
        """Emotions that are true of this person and not among those reported."""
        truth = self.truth_of[person]
        return [] if truth is None else [name for name in self.names[truth] if name not in reported]

    def missed(self) -> list[int]:
        """Rows of the truth that no person matches."""
        found = set(self.truth_of)
        return [truth for truth in range(len(self.names)) if truth not in found]


@dataclass(frozen=True)
class Line:
    """One line of a card; with `bar`, the probability is drawn after the text."""

    text: str
    color: str = "black"
    bold: bool = False
    bar: float | None = None


@dataclass(frozen=True)
class Card:
    """The lines about one person, with the number and colour that the person has on the image."""

    number: str
    color: str
    lines: list[Line]


def compare(people: People, target: Truth | None) -> Comparison | None:
    """Pairs each person, in order, with the free true box of highest IoU, at least 0.5."""
    if target is None:
        return None
    boxes = np.asarray(target.boxes, dtype=np.float32).reshape(-1, 4)
    names = class_names_of(np.asarray(target.labels), people.class_names)
    if len(names) != len(boxes):
        raise ValueError(f"target: expected as many labels as boxes, got {len(names)} and {len(boxes)}")
    return Comparison(boxes, names, pair_boxes(people.boxes, boxes))


def pair_boxes(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> list[int | None]:
    """For each box, in order, the row of the free one of `others` with the highest IoU, at least 0.5; else None."""
    free = np.ones(len(others), dtype=bool)
    paired: list[int | None] = []
    # Some rows of all pairs at a time: an image may hold tens of thousands of boxes.
    for start in range(0, len(boxes) if len(others) else 0, _ROWS):
        overlap = box_iou(torch.from_numpy(boxes[start : start + _ROWS]), torch.from_numpy(others)).numpy()
        for each in overlap:
            row = np.where(free, each, 0)
            best = int(row.argmax())
            found = bool(row[best] >= 0.5)
            paired.append(best if found else None)
            free[best] &= not found
    return paired or [None] * len(boxes)


def class_names_of(labels: NDArray[Any], class_names: tuple[str, ...]) -> list[list[str]]:
    """Names of the true classes of each row of `labels`, (n, C) 0/1 or (n,) class indices."""
    if labels.ndim == 2 and labels.shape[1] == len(class_names):
        return [[class_names[index] for index in np.flatnonzero(row)] for row in labels]
    if labels.ndim == 1 and (len(labels) == 0 or 0 <= labels.min() <= labels.max() < len(class_names)):
        return [[class_names[int(index)]] for index in labels]
    raise ValueError(
        f"target: labels must be (n, {len(class_names)}) 0/1 or (n,) indices below {len(class_names)}, "
        f"got shape {labels.shape}"
    )


def person_cards(people: People, comparison: Comparison | None, max_labels: int) -> list[Card]:
    """One card per person with at most `max_labels` emotions, then one per missed person; at least one card.

    Of more than `MOST_DRAWN` of either, the last card says how many have none.
    """
    if max_labels < 1:
        raise ValueError(f"max_labels must be at least 1, got {max_labels}")
    cards = [
        Card(str(index + 1), person_color(index), _person_lines(index, person, comparison, max_labels))
        for index, person in enumerate(people[:MOST_DRAWN])
    ]
    missed = comparison.missed() if comparison is not None else []
    if comparison is not None:
        head = Line(f"{WRONG} missed person", WRONG_COLOR, bold=True)
        cards += [Card("?", WRONG_COLOR, [head, *_truth_lines(comparison, row)]) for row in missed[:MOST_DRAWN]]
    cards += card_of_others(len(people), len(missed))
    return cards or [Card("", "white", [Line("nobody found", "0.35")])]


def card_of_others(people: int, missed: int = 0) -> list[Card]:
    """A card that says how many of so many people, and of so many missed ones, are not drawn; none if all are."""
    counts = ((people, "people"), (missed, "missed people"))
    lines = [Line(f"{n - MOST_DRAWN:,} more {kind}, not drawn", "0.35") for n, kind in counts if n > MOST_DRAWN]
    return [Card("", "white", lines)] if lines else []


def _person_lines(index: int, person: Person, comparison: Comparison | None, max_labels: int) -> list[Line]:
    by_probability = sorted(person.probabilities, key=lambda name: -person.probabilities[name])
    missed = comparison.not_reported(index, person.labels) if comparison else []
    # Stable: those reported come first, then those missed.
    order = sorted(by_probability, key=lambda name: (name not in person.labels, name not in missed))
    lines = [Line(f"person score {person.score:.3f}", "0.35")]
    for name in order[:max_labels]:
        reported = name in person.labels
        wrong = comparison is not None and reported and comparison.is_wrong(index, name)
        mark = (
            f"{MISSED} "
            if name in missed
            else ""
            if comparison is None or not reported
            else f"{WRONG if wrong else RIGHT} "
        )
        color = WRONG_COLOR if wrong or name in missed else "black" if reported else "0.45"
        lines.append(Line(mark + shorten(name), color, reported, person.probabilities[name]))
    hidden = [name for name in order[max_labels:] if name in person.labels]
    if hidden:
        wrong_hidden = sum(comparison.is_wrong(index, name) for name in hidden) if comparison else 0
        text = f"and {len(hidden)} more reported" + (f", {wrong_hidden} wrong" if wrong_hidden else "")
        lines.append(Line(text, WRONG_COLOR if wrong_hidden else "black"))
    if comparison is None:
        return lines
    truth = comparison.truth_of[index]
    if truth is None:
        return [*lines, Line(f"{WRONG} no person here", WRONG_COLOR, bold=True)]
    return lines + _truth_lines(comparison, truth, missed)


def _truth_lines(comparison: Comparison, truth: int, missed: Collection[str] = ()) -> list[Line]:
    # A no-break space: the mark stays with its emotion.
    names = [f"{MISSED}\N{NO-BREAK SPACE}{name}" if name in missed else name for name in comparison.names[truth]]
    text = "true: " + (", ".join(names) or "no emotion")
    return [Line(part) for part in textwrap.wrap(text, _TRUTH_WIDTH, max_lines=_TRUTH_LINES, placeholder=" …")]


def shorten(name: str) -> str:
    """A class name cut to the width of a card."""
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
