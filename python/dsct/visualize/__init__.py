"""Pictures of what the model says: boxes on the image, emotions with their probabilities beside it.

Figures are made without pyplot, so nothing here touches a global backend or keeps figures alive.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image

from dsct.image_io import ImageInput, load_image
from dsct.people import People, Person
from dsct.person_cards import (
    PERSON_COLORS,
    WRONG,
    WRONG_COLOR,
    Card,
    Comparison,
    Truth,
    compare,
    person_cards,
    person_color,
    shorten,
)

_LINE_STYLES = ("-", "--", ":")  # keeps a second and a third round of colours apart

# Inches at 100 dots per inch: a figure is as wide as a notebook cell.
_DPI = 100
_WIDTH = 10.0
_MAX_IMAGE_HEIGHT = 6.0
CARD_WIDTH = 2.9
_LINE = 0.19
GAP = 0.12
_FONT = 9.0  # points


class Picture(Figure):
    """A matplotlib figure that notebooks show even when pyplot was never imported."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw_people(
    image: ImageInput, people: People, target: Truth | None = None, ax: Axes | None = None, *, max_labels: int = 4
) -> Figure:
    """Draws an image, the people found in it and a card per person with its most probable emotions.

    Reported emotions come first, in bold. With `target`, true boxes are dashed, each card names the true emotions,
    and what is wrong is red and crossed: an emotion that is not true, a person who is not there, a person missed.
    A person is compared with the true box it overlaps most (IoU at least 0.5).

    Args:
        image: anything `load_image` reads; boxes are in its pixels.
        people: the result of `dsct.predict` for this image.
        target: what is true, to compare with.
        ax: draw only the image, boxes and short labels into these axes, with no cards.
        max_labels: emotions per card, at least 1; further reported ones are counted.

    Returns:
        A new figure, or the figure of `ax`. `figure.savefig("people.png")` writes it.

    Raises:
        ValueError: `max_labels` is below 1, or `target` has labels that do not fit the classes of `people`.

    Example:
        >>> import numpy as np
        >>> blank = np.zeros((60, 80, 3), dtype=np.uint8)
        >>> nobody = People(*(np.zeros(s, np.float32) for s in [(0, 4), 0]), [], np.zeros((0, 1), np.float32),
        ...                 ("Happy",), (80, 60), blank)
        >>> draw_people(blank, nobody).get_axes()[1].texts[0].get_text()
        'nobody found'
    """
    picture = load_image(image)
    if ax is None:
        widest_beside = 1.4 if len(people) <= 4 else 1.0  # one column of cards, or two, which leave less room
        cards_below = picture.width > widest_beside * picture.height
        comparison = compare(people, target)
        cards = person_cards(people, comparison, max_labels)
        panel = Panel(picture, people, comparison, cards, _WIDTH, cards_below)
        figure: Figure = Picture(*panel.size)
        panel.draw(figure, 0.0, 0.0)
        return figure
    _draw_image(ax, picture, people, compare(people, target))
    return cast(Figure, ax.get_figure(root=True))


def contact_sheet(
    items: Iterable[tuple[ImageInput, People, Truth | None]],
    path: str | os.PathLike[str],
    *,
    columns: int = 3,
    max_labels: int = 2,
) -> None:
    """Writes a PNG page of many images with their people, as `draw_people` draws them.

    Args:
        items: (image, people, target or None) per picture, row by row.
        path: the file to write.
        columns: pictures per row.
        max_labels: emotions per card.

    Raises:
        ValueError: there are no items, `columns` or `max_labels` is below 1, or the page would be too tall for a PNG.
    """
    if columns < 1:
        raise ValueError(f"contact_sheet: columns must be at least 1, got {columns}")
    width = 2 * CARD_WIDTH + 2 * GAP
    panels = []
    for image, people, target in items:
        comparison = compare(people, target)
        cards = person_cards(people, comparison, max_labels)
        panels.append(Panel(load_image(image), people, comparison, cards, width, cards_below=True))
    if not panels:
        raise ValueError("contact_sheet: items must hold at least one picture, got none")
    write_page(panels, path, columns)


def write_page(panels: Sequence[Panel], path: str | os.PathLike[str], columns: int) -> None:
    """Writes panels of one width, at least one, as a PNG page, row by row.

    Raises:
        ValueError: the page would be too tall for a PNG.
    """
    width = panels[0].width
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.size[1] for panel in row) for row in rows]
    if sum(heights) * _DPI > 65_000:
        raise ValueError(f"contact_sheet: {len(panels)} pictures are too many for one page; write several")
    figure = Picture(width * min(columns, len(panels)), sum(heights))
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            panel.draw(figure, column * width, top)
        top += height
    figure.savefig(path, format="png")


class Panel:
    """An image with its cards: beside it when the image is tall, below it when it is wide. Lengths are in inches."""

    def __init__(
        self,
        image: Image.Image,
        people: People,
        comparison: Comparison | None,
        cards: list[Card],
        width: float,
        cards_below: bool,
    ) -> None:
        self.image, self.people, self.comparison, self.width = image, people, comparison, width
        aspect = image.width / image.height
        if cards_below:
            columns = min(int(width / CARD_WIDTH), len(cards))
            room = width - 2 * GAP
        else:
            columns = 1 if sum(map(_card_height, cards)) <= _MAX_IMAGE_HEIGHT else 2
            room = width - 3 * GAP - columns * CARD_WIDTH
        image_height = min(room / aspect, _MAX_IMAGE_HEIGHT)
        image_width = image_height * aspect
        self.image_box = (((width - image_width) / 2 if cards_below else GAP), GAP, image_width, image_height)
        cards_left, cards_top = (GAP, image_height + 2 * GAP) if cards_below else (image_width + 2 * GAP, GAP)
        self.places, cards_bottom = _place_cards(cards, columns, cards_left, cards_top)
        bottom = max(cards_bottom, image_height + 2 * GAP)
        full_width = width if cards_below else cards_left + columns * CARD_WIDTH + GAP
        self.size = (full_width, bottom + (2 * _LINE if people.note else 0.0))

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Draws this panel with its upper left corner at (`left`, `top`), measured from that of the figure."""
        width, height = self.size
        image_left, image_top, *image_size = self.image_box
        axes = _add_axes(figure, left + image_left, top + image_top, *image_size)
        _draw_image(axes, self.image, self.people, self.comparison)
        # The second axes count in inches from the upper left corner of the panel, so that text is placed by lines.
        page = _add_axes(figure, left, top, width, height)
        page.set(xlim=(0, width), ylim=(height, 0))
        for card, card_left, card_top in self.places:
            _draw_card(page, card, card_left, card_top)
        if self.people.note:
            note = textwrap.fill(self.people.note, int(width * 16), max_lines=2, placeholder=" …")
            page.text(GAP, height - GAP / 2, note, fontsize=_FONT - 1, color="0.35", va="bottom", parse_math=False)


def _card_height(card: Card) -> float:
    return len(card.lines) * _LINE + GAP


def _place_cards(
    cards: list[Card], columns: int, left: float, top: float
) -> tuple[list[tuple[Card, float, float]], float]:
    """Lays `cards` out row by row; returns each with its upper left corner, and the lower edge of all."""
    places = []
    for start in range(0, len(cards), columns):
        row = cards[start : start + columns]
        places += [(card, left + column * CARD_WIDTH, top) for column, card in enumerate(row)]
        top += max(map(_card_height, row))
    return places, top


def _add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    total_width, total_height = figure.get_size_inches()
    bottom = total_height - top - height
    axes = figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))
    axes.set_axis_off()
    return axes


def _draw_card(page: Axes, card: Card, left: float, top: float) -> None:
    text_left, bar_left, bar_width = left + 0.32, left + 1.75, 0.6
    if card.number:
        _draw_chip(page, card.number, card.color, left + 0.05, top)
    for index, line in enumerate(card.lines):
        middle = top + (index + 0.5) * _LINE
        style: dict[str, Any] = {"fontsize": _FONT, "color": line.color, "va": "center", "parse_math": False}
        page.text(text_left, middle, line.text, fontweight="bold" if line.bold else "normal", **style)
        if line.bar is not None:
            corner = (bar_left, middle - 0.05)
            page.add_patch(Rectangle(corner, bar_width, 0.1, facecolor="0.92", linewidth=0))
            page.add_patch(Rectangle(corner, bar_width * line.bar, 0.1, facecolor=card.color, linewidth=0))
            page.text(bar_left + bar_width + 0.07, middle, f"{line.bar:.2f}", **style)


def _draw_chip(page: Axes, number: str, color: str, left: float, top: float) -> None:
    page.add_patch(Rectangle((left, top + 0.01), 0.2, _LINE - 0.02, facecolor=color, linewidth=0))
    page.text(
        left + 0.1,
        top + _LINE / 2,
        number,
        fontsize=_FONT,
        fontweight="bold",
        color=_ink(color),
        ha="center",
        va="center",
        parse_math=False,
    )


def _ink(background: str) -> str:
    """Black or white, whichever reads better on `background` (Rec. 709 luma)."""
    luma = float(np.dot(to_rgb(background), (0.2126, 0.7152, 0.0722)))
    return "black" if luma > 0.4 else "white"


def _draw_image(ax: Axes, image: Image.Image, people: People, comparison: Comparison | None) -> None:
    """The image, boxes, true boxes and a tag per person, in pixels of the image."""
    width, height = image.size
    shown = image.copy()
    shown.thumbnail((1600, 1600))
    ax.imshow(np.asarray(shown), extent=(0, width, height, 0))
    ax.set_axis_off()
    ax.apply_aspect()  # tags are placed by the size the image has on the page
    missed, true_boxes = (comparison.missed(), comparison.boxes) if comparison else ([], np.zeros((0, 4), np.float32))
    for truth, box in enumerate(true_boxes):
        _draw_box(ax, box, WRONG_COLOR if truth in missed else "white", (0, (2, 2)), 1.5)
    for index, box in enumerate(people.boxes):
        _draw_box(ax, box, person_color(index), _LINE_STYLES[index // len(PERSON_COLORS) % len(_LINE_STYLES)], 2.5)
    taken: list[Bbox] = []
    for index, person in enumerate(people):
        _draw_tag(ax, _tag(index, person, comparison), people.boxes[index], person_color(index), taken)
    for truth in missed:
        _draw_tag(ax, f"{WRONG} missed", true_boxes[truth], WRONG_COLOR, taken)


def _tag(index: int, person: Person, comparison: Comparison | None) -> str:
    """Number and most probable reported emotion, crossed when it is wrong, and how many more are reported."""
    if not person.labels:
        return str(index + 1)
    first = max(person.labels, key=lambda label: person.probabilities[label])
    cross = f"{WRONG} " if comparison and comparison.is_wrong(index, first) else ""
    more = f" +{len(person.labels) - 1}" if len(person.labels) > 1 else ""
    return f"{index + 1} {cross}{shorten(first)}{more}"


def _draw_box(ax: Axes, box: NDArray[np.float32], color: str, style: Any, linewidth: float) -> None:
    x1, y1, x2, y2 = (float(value) for value in box)
    # A dark halo keeps light colours readable on light images.
    halo = [withStroke(linewidth=linewidth + 1.5, foreground="0.1")]
    ax.add_patch(
        Rectangle(
            (x1, y1),
            x2 - x1,
            y2 - y1,
            fill=False,
            edgecolor=color,
            linestyle=style,
            linewidth=linewidth,
            path_effects=halo,
            clip_on=True,
        )
    )


def _draw_tag(ax: Axes, content: str, box: NDArray[np.float32], color: str, taken: list[Bbox]) -> None:
    """Writes `content` at the box: above it, inside, or below, wherever it stays in the image and free of others."""
    text = ax.text(
        0,
        0,
        content,
        fontsize=_FONT,
        fontweight="bold",
        color=_ink(color),
        ha="left",
        va="bottom",
        parse_math=False,
        bbox={"boxstyle": "square,pad=0.2", "facecolor": color, "linewidth": 0},
    )
    pad = 0.2 * _FONT * cast(Figure, ax.get_figure(root=True)).dpi / 72
    extent, frame = text.get_window_extent().padded(pad), ax.get_window_extent()
    if extent.width > frame.width:
        text.set_text(content.split()[0])
        extent = text.get_window_extent().padded(pad)
    (left, top), (right, bottom) = ax.transData.transform([box[:2], box[2:]])  # on the page, y grows upwards
    best, best_cost = frame, math.inf
    heights = (top, top - extent.height, bottom - extent.height, bottom)
    for x_wanted, y_wanted in product((left, right - extent.width), heights):
        x = max(min(x_wanted, frame.x1 - extent.width), frame.x0)
        y = max(min(y_wanted, frame.y1 - extent.height), frame.y0)
        place = Bbox.from_bounds(x, y, extent.width, extent.height)
        overlap = sum(_area(Bbox.intersection(place, other)) for other in taken)
        cost = overlap + extent.width * abs(y - y_wanted)
        if cost < best_cost:
            best, best_cost = place, cost
    taken.append(best)
    x, y = ax.transData.inverted().transform((best.x0 + pad, best.y0 + pad))
    text.set_position((x, y))


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else box.width * box.height
from dsct.visualize.subject_trace import trace_subjects
