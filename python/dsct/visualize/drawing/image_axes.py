"""An image in axes, with boxes and tags that stay readable on any image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from dsct.prediction.person_colors import PERSON_COLORS, ink, person_color
from dsct.visualize.drawing.figure import FONT

TRUE_BOX_STYLE = (0, (2, 2))  # dashes, of a box that was annotated
_LINE_STYLES = ("-", "--", ":")  # tells a second and a third round of colours apart


def show_image(ax: Axes, image: Image.Image, fade: float = 0.0) -> None:
    """Shows `image` in axes that count in its pixels from the upper left corner.

    Args:
        ax: the axes.
        image: in RGB.
        fade: share of white, so that drawings on the image stand out.
    """
    width, height = image.size
    shown = image.copy()
    shown.thumbnail((1600, 1600))
    shown = Image.blend(shown, Image.new("RGB", shown.size, "white"), fade)
    ax.imshow(np.asarray(shown), extent=(0, width, height, 0))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    ax.apply_aspect()  # tags are placed by the size of the image on the page


def person_line_style(index: int) -> str:
    """The line of the box of person `index`, from 0: it changes when the colours repeat."""
    return _LINE_STYLES[index // len(PERSON_COLORS) % len(_LINE_STYLES)]


def draw_numbered_boxes(ax: Axes, boxes: Mapping[int, ArrayLike]) -> None:
    """The boxes of people, x1 y1 x2 y2, in their colours and with their numbers; keys count from 0."""
    taken: list[Bbox] = []
    for index, box in boxes.items():
        draw_box(ax, box, person_color(index), person_line_style(index), 2.0)
    for index, box in boxes.items():
        draw_tag(ax, str(index + 1), box, person_color(index), taken)


def say_nobody(ax: Axes) -> None:
    """Writes over the image that nobody was found."""
    style = {"facecolor": "white", "edgecolor": "0.35", "boxstyle": "round,pad=0.4"}
    ax.text(0.5, 0.5, "nobody found", transform=ax.transAxes, ha="center", va="center", fontsize=FONT + 1, bbox=style)


def draw_box(ax: Axes, box: ArrayLike, color: str, style: Any, linewidth: float) -> None:
    """Draws the outline of `box`, x1 y1 x2 y2."""
    x1, y1, x2, y2 = (float(value) for value in np.asarray(box))
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


def draw_tag(ax: Axes, content: str, box: ArrayLike, color: str, taken: list[Bbox]) -> None:
    """Writes `content` at the box: above, inside or below, where it stays in the image and covers no other."""
    text = ax.text(
        0,
        0,
        content,
        fontsize=FONT,
        fontweight="bold",
        color=ink(color),
        ha="left",
        va="bottom",
        zorder=7,
        parse_math=False,
        bbox={"boxstyle": "square,pad=0.2", "facecolor": color, "linewidth": 0},
    )
    pad = 0.2 * FONT * cast(Figure, ax.get_figure(root=True)).dpi / 72
    extent, frame = text.get_window_extent().padded(pad), ax.get_window_extent()
    if extent.width > frame.width:
        text.set_text(content.split()[0])
        extent = text.get_window_extent().padded(pad)
    (left, top), (right, bottom) = ax.transData.transform(np.reshape(box, (2, 2)))  # on the page, y grows upwards
    best, best_cost = frame, math.inf
    others = np.array([other.extents for other in taken]).reshape(-1, 2, 2)
    heights = (top, top - extent.height, bottom - extent.height, bottom)
    for x_wanted, y_wanted in product((left, right - extent.width), heights):
        x = max(min(x_wanted, frame.x1 - extent.width), frame.x0)
        y = max(min(y_wanted, frame.y1 - extent.height), frame.y0)
        place = Bbox.from_bounds(x, y, extent.width, extent.height)
        cost = _covered(place, others) + extent.width * abs(y - y_wanted)
        if cost < best_cost:
            best, best_cost = place, cost
    taken.append(best)
    x, y = ax.transData.inverted().transform((best.x0 + pad, best.y0 + pad))
    text.set_position((x, y))


def _covered(place: Bbox, others: NDArray[np.float64]) -> float:
    """The area that `place` shares with all `others`, (n, 2, 2), together."""
    sides = np.minimum(place.max, others[:, 1]) - np.maximum(place.min, others[:, 0])
    return float(sides.clip(min=0).prod(axis=1).sum())
