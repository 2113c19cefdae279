"""Upright rectangles around what tools let people draw."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dsct.data.annotation_files.raw_annotations import Box


def around(points: Iterable[tuple[float, float]]) -> Box:
    """The upright rectangle around some points.

    Raises:
        ValueError: there is no point.

    Example:
        >>> around([(30, 10), (10, 40)])
        (10, 10, 30, 40)
    """
    pairs = list(points)
    if not pairs:
        raise ValueError("a region must have points")
    xs, ys = zip(*pairs, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def turned(box: Box, degrees: float, pivot: tuple[float, float]) -> Box:
    """The upright rectangle around a box that is turned clockwise, as seen on the screen, about a point.

    Args:
        box: ``x1 y1 x2 y2`` in pixels before it is turned.
        degrees: the angle.
        pivot: the point that stays where it is.

    Example:
        >>> [round(value, 6) for value in turned((200, 100, 400, 200), 90, (300, 150))]
        [250.0, 50.0, 350.0, 250.0]
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = pivot
    corners = [(box[across] - x, box[down] - y) for across in (0, 2) for down in (1, 3)]
    return around((x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in corners)


def centred(x: float, y: float, width: float, height: float) -> Box:
    """The box with this centre."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
