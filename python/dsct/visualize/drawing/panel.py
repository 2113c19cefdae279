"""An image with a card per person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from dsct.prediction.people import People, Person
from dsct.prediction.person_colors import WRONG_COLOR, ink, person_color
from dsct.visualize.drawing.figure import FONT, GAP, LINE, add_axes
from dsct.visualize.drawing.image_axes import TRUE_BOX_STYLE, draw_box, draw_tag, person_line_style, show_image
from dsct.visualize.drawing.person_cards import MOST_DRAWN, WRONG, Card, Comparison, shorten

CARD_WIDTH = 2.9
MAX_IMAGE_HEIGHT = 6.0


class Panel:
    """An image with its cards: beside it if the image is tall, below it if it is wide. Lengths are in inches.

    Args:
        image: in RGB.
        people: who is drawn on it.
        comparison: of `people` with the truth, if there is one.
        cards: beside or below the image.
        width: of the panel, at most.
        cards_below: where the cards are.
        card_width: room of a card.
        numbers: from 0, those of `people` in tags and colours; None counts them.
        points: draws further marks below the boxes.
    """

    def __init__(
        self,
        image: Image.Image,
        people: People,
        comparison: Comparison | None,
        cards: list[Card],
        width: float,
        cards_below: bool,
        *,
        card_width: float = CARD_WIDTH,
        numbers: Sequence[int] | None = None,
        points: Callable[[Axes], None] | None = None,
    ) -> None:
        self.image, self.people, self.comparison, self.width = image, people, comparison, width
        self._numbers, self._points = numbers, points
        aspect = image.width / image.height
        if cards_below:
            columns = max(1, min(int(width / card_width), len(cards)))
            room = width - 2 * GAP
        else:
            columns = 1 if sum(map(_card_height, cards)) <= MAX_IMAGE_HEIGHT else 2
            room = width - 3 * GAP - columns * CARD_WIDTH
        image_height = min(room / aspect, MAX_IMAGE_HEIGHT)
        image_width = image_height * aspect
        self.image_box = (((width - image_width) / 2 if cards_below else GAP), GAP, image_width, image_height)
        cards_left, cards_top = (GAP, image_height + 2 * GAP) if cards_below else (image_width + 2 * GAP, GAP)
        self.places, cards_bottom = _place_cards(cards, columns, cards_left, cards_top, card_width)
        bottom = max(cards_bottom, image_height + 2 * GAP)
        full_width = width if cards_below else cards_left + columns * CARD_WIDTH + GAP
        self.size = (full_width, bottom)

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Draws this panel with its upper left corner at (`left`, `top`), measured from that of the figure."""
        width, height = self.size
        image_left, image_top, *image_size = self.image_box
        axes = add_axes(figure, left + image_left, top + image_top, *image_size)
        draw_people_in_axes(axes, self.image, self.people, self.comparison, self._numbers, self._points)
        # The second axes count in inches from the upper left corner of the panel, so that text is placed by lines.
        page = add_axes(figure, left, top, width, height)
        page.set(xlim=(0, width), ylim=(height, 0))
        for card, card_left, card_top in self.places:
            _draw_card(page, card, card_left, card_top)


def _card_height(card: Card) -> float:
    return len(card.lines) * LINE + GAP


def _place_cards(
    cards: list[Card], columns: int, left: float, top: float, width: float
) -> tuple[list[tuple[Card, float, float]], float]:
    """Lays out `cards` row by row; returns each with its upper left corner, and the lower edge of all."""
    places = []
    for start in range(0, len(cards), columns):
        row = cards[start : start + columns]
        places += [(card, left + column * width, top) for column, card in enumerate(row)]
        top += max(map(_card_height, row))
    return places, top


def _draw_card(page: Axes, card: Card, left: float, top: float) -> None:
    text_left, bar_left, bar_width = left + 0.32, left + 1.75, 0.6
    if card.number:
        _draw_chip(page, card.number, card.color, left + 0.05, top)
    if any(line.bar is not None for line in card.lines):
        head: dict[str, Any] = {"fontsize": FONT - 1, "color": "0.35", "va": "center"}
        page.text(bar_left, top + 0.5 * LINE, "probability", **head)
    for index, line in enumerate(card.lines):
        middle = top + (index + 0.5) * LINE
        style: dict[str, Any] = {"fontsize": FONT, "color": line.color, "va": "center", "parse_math": False}
        page.text(text_left, middle, line.text, fontweight="bold" if line.bold else "normal", **style)
        if line.bar is not None:
            corner = (bar_left, middle - 0.05)
            page.add_patch(Rectangle(corner, bar_width, 0.1, facecolor="0.92", linewidth=0))
            page.add_patch(Rectangle(corner, bar_width * line.bar, 0.1, facecolor=card.color, linewidth=0))
            page.text(bar_left + bar_width + 0.07, middle, f"{line.bar:.2f}", **style)


def _draw_chip(page: Axes, number: str, color: str, left: float, top: float) -> None:
    page.add_patch(Rectangle((left, top + 0.01), 0.2, LINE - 0.02, facecolor=color, linewidth=0))
    page.text(
        left + 0.1,
        top + LINE / 2,
        number,
        fontsize=FONT,
        fontweight="bold",
        color=ink(color),
        ha="center",
        va="center",
        parse_math=False,
    )


def draw_people_in_axes(
    ax: Axes,
    image: Image.Image,
    people: People,
    comparison: Comparison | None,
    numbers: Sequence[int] | None = None,
    points: Callable[[Axes], None] | None = None,
) -> None:
    """The image, boxes, true boxes and a tag per person, in pixels of the image; the rest as in `Panel`.

    The first `MOST_DRAWN` people with the true boxes that they match, and the first `MOST_DRAWN` missed ones.
    """
    show_image(ax, image)
    if points is not None:
        points(ax)
    numbers = (range(len(people)) if numbers is None else numbers)[:MOST_DRAWN]
    people = people[:MOST_DRAWN]
    true_boxes, missed, matched = np.zeros((0, 4), np.float32), [], set[int]()
    if comparison is not None:
        true_boxes, missed = comparison.boxes, comparison.missed()[:MOST_DRAWN]
        matched = {truth for truth in comparison.truth_of[:MOST_DRAWN] if truth is not None}
    colors = dict.fromkeys(matched, "white") | dict.fromkeys(missed, WRONG_COLOR)
    for truth in sorted(colors):
        draw_box(ax, true_boxes[truth], colors[truth], TRUE_BOX_STYLE, 1.5)
    for number, box in zip(numbers, people.boxes, strict=True):
        draw_box(ax, box, person_color(number), person_line_style(number), 2.5)
    taken: list[Bbox] = []
    for index, (number, person) in enumerate(zip(numbers, people, strict=True)):
        tag = f"{number + 1} {_first_label(index, person, comparison)}".strip()
        draw_tag(ax, tag, people.boxes[index], person_color(number), taken)
    for truth in missed:
        draw_tag(ax, f"{WRONG} missed", true_boxes[truth], WRONG_COLOR, taken)


def _first_label(index: int, person: Person, comparison: Comparison | None) -> str:
    """The most probable reported emotion, crossed out if wrong, and the number of further ones."""
    if not person.labels:
        return ""
    first = max(person.labels, key=lambda label: person.probabilities[label])
    cross = f"{WRONG} " if comparison and comparison.is_wrong(index, first) else ""
    more = f" +{len(person.labels) - 1}" if len(person.labels) > 1 else ""
    return f"{cross}{shorten(first)}{more}"
