"""A page of many images with their people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from dsct.data.image_io import ImageInput, load_image
from dsct.prediction.people import People, Truth
from dsct.visualize.drawing.figure import DPI, GAP, NotebookFigure
from dsct.visualize.drawing.panel import CARD_WIDTH, Panel
from dsct.visualize.drawing.person_cards import compare, person_cards


def contact_sheet(
    items: Iterable[tuple[ImageInput, People, Truth | None]],
    path: str | os.PathLike[str],
    *,
    columns: int = 3,
    max_labels: int = 2,
) -> None:
    """Writes a PNG page of many images with their people, as `draw_people` draws them.

    Args:
        items: (image, people, target or None) per image, row by row.
        path: the file to write.
        columns: images per row.
        max_labels: emotions per card.

    Raises:
        ValueError: there are no items, `columns` or `max_labels` is below 1, or the page would be too tall for a PNG.

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
    for image, people, target in items:
        comparison = compare(people, target)
        cards = person_cards(people, comparison, max_labels)
        panels.append(Panel(load_image(image), people, comparison, cards, width, cards_below=True))
    if not panels:
        raise ValueError("contact_sheet: items must hold at least one image, got none")
    write_page(panels, path, columns)


def write_page(panels: Sequence[Panel], path: str | os.PathLike[str], columns: int) -> None:
    """Writes panels of one width, at least one, as a PNG page, row by row.

    Raises:
        ValueError: the page would be too tall for a PNG.
    """
    width = panels[0].width
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.size[1] for panel in row) for row in rows]
    if sum(heights) * DPI > 65_000:
        raise ValueError(f"contact_sheet: {len(panels)} images are too many for one page; write several")
    figure = NotebookFigure(width * min(columns, len(panels)), sum(heights))
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            panel.draw(figure, column * width, top)
        top += height
    figure.savefig(path, format="png")
