"""Boxes on the image, emotions with their probabilities beside it (paper, Fig. 5, 6 and 13)."""

from __future__ import annotations

from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsct.data.image_io import ImageInput
from dsct.prediction.people import People, Truth
from dsct.visualize.drawing.figure import WIDTH
from dsct.visualize.drawing.image_of import image_of
from dsct.visualize.drawing.page import people_page
from dsct.visualize.drawing.panel import Panel, draw_people_in_axes
from dsct.visualize.drawing.person_cards import compare, person_cards


def draw_people(
    image: ImageInput, people: People, target: Truth | None = None, ax: Axes | None = None, *, max_labels: int = 4
) -> Figure:
    """Draws an image, the people found in it and a card per person with its most probable emotions.

    Reported emotions come first, in bold. With `target`, true boxes are dashed, each card names the true emotions,
    and errors are red and marked: an emotion that is not true, or true and not reported, a person who is not there, a
    person missed. A person is compared with the true box it overlaps most (IoU at least 0.5). What lines, marks and
    numbers mean is said below.

    Args:
        image: anything `load_image` reads; boxes are in its pixels.
        people: the result of `dsct.predict` for this image.
        target: the truth to compare with.
        ax: draw only the image, boxes and short labels into these axes, with no cards and no legend.
        max_labels: emotions per card, at least 1; the number of further reported ones is shown.

    Returns:
        A new figure, or the figure of `ax`. `figure.savefig("people.png")` writes it.

    Raises:
        TypeError: `people` is not a `People`, or `image` has an unsupported type.
        ValueError: `max_labels` is below 1, `image` is not of the size of that in which `people` were found, or
            `target` has labels that do not fit the classes of `people`.

    Example:
        >>> import numpy as np
        >>> blank = np.zeros((60, 80, 3), dtype=np.uint8)
        >>> nobody = People(*(np.zeros(s, np.float32) for s in [(0, 4), 0]), [], np.zeros((0, 1), np.float32),
        ...                 ("Happy",), (80, 60), blank)
        >>> draw_people(blank, nobody).get_axes()[1].texts[0].get_text()
        'nobody found'
    """
    loaded = image_of(people, image, "draw_people")
    if ax is None:
        widest_beside = 1.4 if len(people) <= 4 else 1.0  # one column of cards, or two, which leave less room
        cards_below = loaded.width > widest_beside * loaded.height
        comparison = compare(people, target)
        cards = person_cards(people, comparison, max_labels)
        return people_page([Panel(loaded, people, comparison, cards, WIDTH, cards_below)], 1)
    draw_people_in_axes(ax, loaded, people, compare(people, target))
    return cast(Figure, ax.get_figure(root=True))
