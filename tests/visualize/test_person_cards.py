"""What cards say about people, and which of it is marked wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torchvision.ops import box_iou

from dsct.prediction.people import People
from dsct.prediction.person_colors import PERSON_COLORS, WRONG_COLOR, person_color
from dsct.visualize.drawing import person_cards as cards_module
from dsct.visualize.drawing.panel import draw_people_in_axes
from dsct.visualize.drawing.person_cards import (
    MISSED,
    MOST_DRAWN,
    RIGHT,
    WRONG,
    Card,
    compare,
    pair_boxes,
    person_cards,
)

NAMES = ("Anger", "Happiness", "Peace", "Sadness", "Trust")


def people_at(*boxes: list[float], labels: list[list[str]]) -> People:
    """People whose reported classes have probabilities 0.9, 0.8, ... in the order given, and others 0.1."""
    probabilities = np.full((len(boxes), len(NAMES)), 0.1, dtype=np.float32)
    for row, names in zip(probabilities, labels, strict=True):
        row[[NAMES.index(name) for name in names]] = 0.9 - 0.1 * np.arange(len(names))
    stacked = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    blank = np.zeros((100, 100, 3), np.uint8)
    return People(stacked, probabilities.mean(1), labels, probabilities, NAMES, (100, 100), blank)


def truth(boxes: Any, labels: Any) -> Any:
    return SimpleNamespace(boxes=boxes, labels=np.array(labels))


def texts(card: Card) -> list[str]:
    return [line.text for line in card.lines]


A, B, FAR = [0.0, 0, 20, 20], [50.0, 50, 80, 80], [90.0, 90, 99, 99]


def test_pairs_each_person_with_the_true_box_it_overlaps_most() -> None:
    people = people_at([1, 0, 20, 20], A, B, [85, 85, 99, 99], labels=[["Anger"]] * 4)
    comparison = compare(people, truth([B, A, FAR], [0, 0, 0]))
    assert comparison is not None
    assert comparison.truth_of == [1, None, 0, None]  # a true box is taken once; IoU with FAR is below a half
    assert comparison.missed() == [2]


def test_thousands_of_people_in_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs are compared without being in memory at once, and each true box is still taken once."""
    number = 3000
    boxes = np.zeros((number, 4), dtype=np.float32)
    boxes[:, 0] = 100 * np.arange(number)
    boxes[:, 2:] = boxes[:, :2] + 50
    doubled, compared = np.concatenate([boxes, boxes[:1]]), []

    def counted(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        compared.append(len(rows) * len(columns))
        return box_iou(rows, columns)

    monkeypatch.setattr(cards_module, "box_iou", counted)
    assert pair_boxes(doubled, boxes[::-1].copy()) == [*range(number - 1, -1, -1), None]
    assert max(compared) <= 64 * number
    assert pair_boxes(boxes[:2], boxes[:0]) == [None, None]
    assert pair_boxes(boxes[:0], boxes) == []


@pytest.mark.parametrize(
    "labels", [[1, 3], [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]], ids=["class indices", "one column per class"]
)
def test_right_and_wrong_labels(labels: Any) -> None:
    comparison = compare(people_at(A, B, FAR, labels=[["Happiness"]] * 3), truth([A, B], labels))
    assert comparison is not None
    assert comparison.names == [["Happiness"], ["Sadness"]]
    assert [comparison.is_wrong(person, "Happiness") for person in range(3)] == [False, True, True]


def test_card_lists_reported_emotions_first_then_the_next_most_probable() -> None:
    people = people_at(A, labels=[["Trust", "Anger"]])
    people.probabilities[0, NAMES.index("Peace")] = 0.85  # below its own threshold, though more probable than Anger
    (card,) = person_cards(people, None, max_labels=3)
    assert texts(card)[1:] == ["Trust", "Anger", "Peace"]
    assert [line.bold for line in card.lines[1:]] == [True, True, False]
    assert [line.bar for line in card.lines[1:]] == pytest.approx([0.9, 0.8, 0.85])


def test_card_with_truth_marks_wrong_in_red_and_with_a_sign() -> None:
    people = people_at(A, labels=[["Trust", "Anger"]])
    comparison = compare(people, truth([A], [[1, 0, 1, 0, 0]]))
    (card,) = person_cards(people, comparison, max_labels=2)
    assert texts(card)[1:] == [f"{WRONG} Trust", f"{RIGHT} Anger", f"true: Anger, {MISSED}\N{NO-BREAK SPACE}Peace"]
    assert [line.color == WRONG_COLOR for line in card.lines] == [False, True, False, False]


def test_true_emotions_that_are_not_reported_are_marked_with_their_probability() -> None:
    people = people_at(A, B, labels=[["Trust"], ["Anger"]])
    comparison = compare(people, truth([A, B], [[1, 0, 1, 0, 1], [1, 0, 0, 0, 0]]))
    one, other = person_cards(people, comparison, max_labels=4)
    assert texts(one)[1:4] == [f"{RIGHT} Trust", f"{MISSED} Anger", f"{MISSED} Peace"]
    assert [line.color == WRONG_COLOR for line in one.lines[1:5]] == [False, True, True, False]
    assert [line.bar for line in one.lines[1:4]] == pytest.approx([0.9, 0.1, 0.1])
    assert not any(MISSED in line for line in texts(other))


def test_what_the_numbers_are_is_said() -> None:
    (card,) = person_cards(people_at(A, labels=[["Trust"]]), None, max_labels=2)
    assert texts(card)[0] == "person score 0.260"


def test_long_lists_are_counted_with_their_wrong_ones() -> None:
    people = people_at(A, labels=[list(NAMES)])
    assert texts(person_cards(people, None, max_labels=2)[0])[-1] == "and 3 more reported"
    comparison = compare(people, truth([A], [[1, 1, 1, 0, 1]]))
    assert texts(person_cards(people, comparison, max_labels=2)[0])[-2] == "and 3 more reported, 1 wrong"


def test_long_truths_are_wrapped_and_cut() -> None:
    names = tuple(f"Emotion number {index}" for index in range(12))
    probabilities = np.full((1, 12), 0.9, dtype=np.float32)
    boxes, scores = np.array([A], dtype=np.float32), probabilities.mean(1)
    people = People(boxes, scores, [[]], probabilities, names, (100, 100), np.zeros((100, 100, 3), np.uint8))
    (card,) = person_cards(people, compare(people, truth([A], np.ones((1, 12), int))), max_labels=1)
    lines = texts(card)[2:]
    assert len(lines) == 4
    assert max(map(len, lines)) <= 36
    assert lines[-1].endswith("…")


def test_people_who_are_not_there_and_people_missed() -> None:
    people = people_at(A, labels=[["Anger"]])
    invented, missed = person_cards(people, compare(people, truth([B], [3])), max_labels=1)
    assert texts(invented)[-2:] == [f"{WRONG} Anger", f"{WRONG} no person here"]
    assert texts(missed) == [f"{WRONG} missed person", "true: Sadness"]
    assert missed.color == WRONG_COLOR


def test_nobody_found() -> None:
    nobody = people_at(labels=[])
    assert [texts(card) for card in person_cards(nobody, None, 4)] == [["nobody found"]]
    empty = compare(nobody, truth(np.zeros((0, 4)), []))
    assert [texts(card) for card in person_cards(nobody, empty, 4)] == [["nobody found"]]
    assert len(person_cards(nobody, compare(nobody, truth([A, B], [0, 1])), 4)) == 2


def test_neighbours_differ_in_colour_and_none_is_the_red_of_wrong() -> None:
    assert len({person_color(index) for index in range(6)}) == 6
    assert WRONG_COLOR not in PERSON_COLORS


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        ([A], [[1, 0]], r"labels must be \(n, 5\) 0/1 or \(n,\) indices below 5, got shape \(1, 2\)"),
        ([A], [5], "indices below 5"),
        ([A], [-1], "indices below 5"),
        ([A, B], [1], "as many labels as boxes, got 1 and 2"),
    ],
)
def test_rejects_targets_that_do_not_fit(boxes: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(people_at(A, labels=[["Anger"]]), truth(boxes, labels))


def test_rejects_cards_without_emotions() -> None:
    with pytest.raises(ValueError, match="max_labels must be at least 1, got 0"):
        person_cards(people_at(A, labels=[["Anger"]]), None, 0)


def test_of_very_many_people_the_first_are_drawn_and_the_others_a_number() -> None:
    """Of those found and of those missed; nothing that is drawn grows with the others."""
    number = 3 * MOST_DRAWN
    boxes = np.zeros((number, 4), dtype=np.float32)
    boxes[:, 0] = np.arange(number) % 20 * 5
    boxes[:, 1] = np.arange(number) // 20 * 5
    boxes[:, 2:] = boxes[:, :2] + 4
    people = people_at(*boxes[: number // 2].tolist(), labels=[["Anger"]] * (number // 2))
    comparison = compare(people, truth(boxes, [0] * number))
    cards = person_cards(people, comparison, max_labels=1)
    assert len(cards) == 2 * MOST_DRAWN + 1
    assert [card.number for card in cards[MOST_DRAWN - 1 : MOST_DRAWN + 1]] == [str(MOST_DRAWN), "?"]
    assert texts(cards[-1]) == ["50 more people, not drawn", "50 more missed people, not drawn"]
    axes = Figure(figsize=(3, 3)).add_axes((0, 0, 1, 1))
    draw_people_in_axes(axes, Image.new("RGB", (100, 100)), people, comparison)
    assert len(axes.patches) == 3 * MOST_DRAWN  # people, their true boxes, missed people
    assert len(axes.texts) == 2 * MOST_DRAWN
    assert person_cards(people[:MOST_DRAWN], None, max_labels=1)[-1].number == str(MOST_DRAWN)
