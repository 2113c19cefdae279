"""A page of annotated images to look at: boxes on the image, classes below it, findings in red.

Nothing replaces looking: numbers do not show whether boxes are heads or bodies, or classes are in another order.
"""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsct.data.checks.findings import Finding
from dsct.data.checks.opened_records import AnnotatedSplit
from dsct.data.checks.summary import class_membership
from dsct.data.image_io import load_image
from dsct.data.records import Annotations
from dsct.prediction.people import People
from dsct.prediction.person_colors import WRONG_COLOR, person_color
from dsct.visualize.contact_sheet import write_page
from dsct.visualize.drawing.figure import DPI, GAP
from dsct.visualize.drawing.panel import CARD_WIDTH, Panel
from dsct.visualize.drawing.person_cards import MOST_DRAWN, Card, Line, card_of_others

_LINE_WIDTH = 33  # characters: this many wide characters fit
_CLASS_LINES = 3
_FINDING_LINES = 4
_MOST_PIXELS = 800  # per side: images of 20 megapixels would fill memory
_CAPTION = "Boxes and classes as annotated."
_FOUND = " Red: what the check found in the image."
_WIDTH = CARD_WIDTH + 2 * GAP  # three columns are as wide as a notebook


def contact_sheet(
    splits: Sequence[AnnotatedSplit],
    findings: Sequence[Finding],
    path: str | os.PathLike[str],
    *,
    count: int = 12,
    seed: int = 0,
    columns: int = 3,
    dpi: float = DPI,
) -> None:
    """Writes a page of `count` images: up to two thirds with findings, the worst first, then others at random.

    An image that cannot be read is drawn as a grey area of its recorded size.

    Args:
        splits: the data sets that were checked.
        findings: what :func:`dsct.data.checks.check.check` found in them.
        path: the file to write; its ending, .png, .svg or .pdf, names the format.
        count: images on the page.
        seed: for the random choice.
        columns: images per row.
        dpi: dots per inch.

    Raises:
        ValueError: `count` or `columns` is below 1, the ending of `path` names no format, or no split has an image.

    Example:
        >>> import pathlib, tempfile
        >>> from dsct.data.checks.check import check
        >>> one = Annotations(None, np.array([[10, 20, 50, 80]]), np.array([1]), (64, 96))
        >>> class Drawn(list):
        ...     split, class_names, multi_label, source = "val", ("Anger", "Fear"), False, "drawn"
        ...     skipped, mended = {}, {}
        ...     annotations = list.__getitem__
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = pathlib.Path(folder, "page.png")
        ...     contact_sheet([Drawn([one])], check([Drawn([one])]).findings, page)
        ...     page.exists()
        True
    """
    if count < 1 or columns < 1:
        raise ValueError(f"count and columns must be at least 1, got {count} and {columns}")
    remarks = _remarks(findings)
    chosen = choose_images({data.split: len(data) for data in splits}, list(remarks), count, seed)
    by_name = {data.split: data for data in splits}
    panels = [_panel(by_name[split], index, remarks.get((split, index), [])) for split, index in chosen]
    if not panels:
        raise ValueError("contact_sheet: splits must hold at least one image, got none")
    write_page(panels, path, columns, dpi, _CAPTION + (_FOUND if findings else ""))


def choose_images(
    sizes: dict[str, int], found: Sequence[tuple[str, int]], count: int, seed: int
) -> list[tuple[str, int]]:
    """Which images a page shows: up to two thirds of `found`, in order, then random images from all splits.

    Args:
        sizes: number of images by split.
        found: (split, index) of images with findings, without repetitions.
        count: number of images.
        seed: for the random choice.

    Returns:
        At most `count` pairs (split, index), each once.

    Example:
        >>> choose_images({"val": 3}, [("val", 2)], count=2, seed=0)
        [('val', 2), ('val', 0)]
    """
    everything = [(split, index) for split, size in sizes.items() for index in range(size)]
    drawn = [everything[i] for i in np.random.default_rng(seed).permutation(len(everything))]
    first = list(found[: max(1, count * 2 // 3)])
    remarkable = set(found)
    ordinary = [image for image in drawn if image not in remarkable]
    left = remarkable - set(first)
    rest = [image for image in drawn if image in left]
    return [*first, *ordinary, *rest][:count]


def _remarks(findings: Sequence[Finding]) -> dict[tuple[str, int], list[str]]:
    """What was found in each image. The order is: one place of every finding, then a second one, and so on."""
    remarks: dict[tuple[str, int], list[str]] = defaultdict(list)
    for places in zip_longest(*(finding.places for finding in findings)):
        for finding, place in zip(findings, places, strict=True):
            if place is not None and place.index is not None and finding.kind != "record cannot be read":
                text = f"{finding.kind}: {place.detail}" if place.detail else finding.kind
                remarks[place.split, place.index].append(text)
    return remarks


def _panel(data: AnnotatedSplit, index: int, remarks: list[str]) -> Panel:
    annotations = data.annotations(index)
    image = _image(annotations)
    full_width = image.width
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    names = _class_names(annotations, data.class_names)
    people = People(
        annotations.boxes * (image.width / full_width),
        np.ones(len(annotations), np.float32),
        [[] for _ in names] if data.multi_label else names,  # of several classes, none is drawn on the image
        class_membership(annotations.labels, len(data.class_names)).astype(np.float32),
        data.class_names,
        image.size,
        image,
    )
    cards = [Card("", "white", _heading(data.split, index, annotations, remarks))]
    for person, (box, classes) in enumerate(zip(annotations.boxes[:MOST_DRAWN], names, strict=False)):
        cards.append(Card(str(person + 1), person_color(person), _person_lines(box, classes)))
    cards += card_of_others(len(annotations))
    return Panel(image, people, None, cards, _WIDTH, cards_below=True)


def _image(annotations: Annotations) -> Image.Image:
    if annotations.image_path is not None:
        with contextlib.suppress(Exception):  # the check has reported why it cannot be read; the page only shows where
            return load_image(annotations.image_path)
    return Image.new("RGB", annotations.size, "lightgrey")


def _class_names(annotations: Annotations, class_names: Sequence[str]) -> list[list[str]]:
    members = class_membership(annotations.labels, len(class_names))
    return [[class_names[i] for i in np.flatnonzero(row).tolist()] for row in members]


def _heading(split: str, index: int, annotations: Annotations, remarks: list[str]) -> list[Line]:
    name = annotations.image_path.name if annotations.image_path else "not on disk"
    lines = [Line(f"{split} {index}", bold=True), *(Line(part, "0.45") for part in _wrap(name, 2))]
    return lines + [Line(part, WRONG_COLOR) for remark in remarks for part in _wrap(remark, _FINDING_LINES)]


def _person_lines(box: NDArray[np.float32], names: list[str]) -> list[Line]:
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    parts = _wrap(", ".join(names) or "no class", _CLASS_LINES)
    return [*(Line(part) for part in parts), Line(f"{width:.0f} x {height:.0f} px", "0.45")]


def _wrap(text: str, lines: int) -> list[str]:
    return textwrap.wrap(text, _LINE_WIDTH, max_lines=lines, placeholder=" …")
