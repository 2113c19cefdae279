"""A page of many images with their people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from dsct.data.image_io import ImageInput
from dsct.prediction.people import People, Truth
from dsct.visualize.drawing.figure import DPI, GAP
from dsct.visualize.drawing.image_of import image_of
from dsct.visualize.drawing.page import people_page
from dsct.visualize.drawing.panel import CARD_WIDTH, Panel
from dsct.visualize.drawing.person_cards import compare, person_cards
from dsct.visualize.drawing.saving import save_figure

_MOST_PIXELS = 65_000  # of a side: more are not possible in a PNG


def contact_sheet(
    items: Iterable[tuple[ImageInput, People, Truth | None]],
    path: str | os.PathLike[str],
    *,
    columns: int = 3,
    max_labels: int = 2,
    dpi: float = DPI,
) -> None:
    """Writes a page of many images with their people, as `draw_people` draws them.

    Args:
        items: (image, people, target or None) per image, row by row.
        path: the file to write; its ending, .png, .svg or .pdf, names the format.
        columns: images per row.
        max_labels: emotions per card.
        dpi: dots per inch.

    Raises:
        TypeError: an item is not such a tuple.
        ValueError: there are no items, an image is not of the size of its people's, `columns` or `max_labels` is below
            1, the ending of `path` names no format, or the page would be too tall.

    Example:
        >>> import dsct, numpy as np, pathlib, tempfile
        >>> blank = np.zeros((96, 128, 3), dtype=np.uint8)
        >>> people = dsct.predict(blank, dsct.DSCT(dsct.DSCTConfig.tiny()), short_side=96)
        >>> page = pathlib.Path(tempfile.mkdtemp()) / "page.png"
        >>> contact_sheet([(blank, people, None)] * 4, page, columns=2)
        >>> page.exists()
        True
    """
    if columns < 1:
        raise ValueError(f"contact_sheet: columns must be at least 1, got {columns}")
    width = 2 * CARD_WIDTH + 2 * GAP
    panels = []
    for item in items:
        if not isinstance(item, (tuple, list)) or len(item) != 3:
            raise TypeError(f"contact_sheet: items must be tuples (image, people, target or None), got {item!r:.80}")
        image, people, target = item
        comparison = compare(people, target)
        cards = person_cards(people, comparison, max_labels)
        panels.append(
            Panel(image_of(people, image, "contact_sheet"), people, comparison, cards, width, cards_below=True)
        )
    if not panels:
        raise ValueError("contact_sheet: items must hold at least one image, got none")
    write_page(panels, path, columns, dpi)


def write_page(
    panels: Sequence[Panel], path: str | os.PathLike[str], columns: int, dpi: float, caption: str | None = None
) -> None:
    """Writes panels of one width, at least one, as a page in the format of the ending of `path`.

    Raises:
        ValueError: the page would be too tall, or the ending names no format.
    """
    page = people_page(panels, columns, caption)
    if page.get_figheight() * dpi > _MOST_PIXELS:
        raise ValueError(f"contact_sheet: {len(panels)} images are too many for one page; write several")
    save_figure(page, path, dpi)
