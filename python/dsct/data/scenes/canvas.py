"""A canvas in image heights: (0, 0) is the top left corner, (aspect, 1) the bottom right, at any resolution.

Shapes are drawn with Pillow at three times the size and averaged down, which smooths their edges.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK = (45, 35, 40)

_SUPERSAMPLING = 3


class Canvas:
    """Shapes on a supersampled canvas.

    Args:
        width: of the finished image, in pixels.
        height: the same.

    Attributes:
        aspect: width / height.
        grey: share of grey, 0 to 1, that is mixed into every colour from now on.
    """

    def __init__(self, width: int, height: int) -> None:
        self.aspect = width / height
        self.grey = 0.0
        self._scale = _SUPERSAMPLING * height
        self._image = Image.new("RGB", (_SUPERSAMPLING * width, self._scale))
        self._draw = ImageDraw.Draw(self._image)

    def finish(self) -> Image.Image:
        """The image, at its final size."""
        return self._image.reduce(_SUPERSAMPLING)

    def gradient(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """A horizontal band whose colour runs from ``first`` to ``last``."""
        y0, y1 = self._pixels(top, bottom)
        ramp = np.linspace(self._ink(first), self._ink(last), max(y1 - y0, 1))
        column = Image.fromarray(ramp.round().astype(np.uint8)[:, None])
        self._image.paste(column.resize((self._image.width, column.height), Image.Resampling.NEAREST), (0, y0))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """A filled oval around (x, y) with radii rx and ry."""
        self._draw.ellipse(self._pixels(x - rx, y - ry, x + rx, y + ry), fill=self._ink(colour))

    def disc(self, x: float, y: float, r: float, colour: Colour) -> None:
        """A filled circle."""
        self.oval(x, y, r, r, colour)

    def pie(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour) -> None:
        """A slice of an oval, angles in degrees clockwise from 3 o'clock."""
        self._draw.pieslice(self._pixels(x - rx, y - ry, x + rx, y + ry), start, end, fill=self._ink(colour))

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, w: float) -> None:
        """A stroke of width ``w`` along part of an oval, angles as in :meth:`pie`."""
        box = self._pixels(x - rx, y - ry, x + rx, y + ry)
        self._draw.arc(box, start, end, fill=self._ink(colour), width=max(1, round(self._scale * w)))

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, corner: float = 0.0) -> None:
        """A filled rectangle; ``corner`` is the radius of its corners."""
        self._draw.rounded_rectangle(self._pixels(x0, y0, x1, y1), self._scale * corner, fill=self._ink(colour))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon(self._points(points), fill=self._ink(colour))

    def line(self, points: Sequence[Point], colour: Colour, w: float) -> None:
        """Joined strokes of width ``w``."""
        self._draw.line(
            self._points(points), fill=self._ink(colour), width=max(1, round(self._scale * w)), joint="curve"
        )

    def _ink(self, colour: Colour) -> Colour:
        red, green, blue = (round((1 - self.grey) * channel + self.grey * 128) for channel in colour)
        return red, green, blue

    def _pixels(self, *lengths: float) -> list[int]:
        return [round(self._scale * length) for length in lengths]

    def _points(self, points: Sequence[Point]) -> list[tuple[int, int]]:
        return [(round(self._scale * x), round(self._scale * y)) for x, y in points]


def random_colour(rng: np.random.Generator, hue: tuple[float, float], saturation: float, value: float) -> Colour:
    """A random colour: hue uniform in a range of the colour wheel [0, 1], saturation and value within 0.08."""
    s, v = saturation + rng.uniform(-0.08, 0.08), value + rng.uniform(-0.08, 0.08)
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
    return round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2])


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue
