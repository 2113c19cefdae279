"""Draws the synthetic scenes: far scene first, then clutter, near objects and people, back row before front row.

Lengths are in image heights: (0, 0) is the top left corner, (aspect, 1) the bottom right one, whatever the resolution.
Everything is drawn with Pillow at three times the size and averaged down. Each part draws its random choices from its
own generator, so changing one cue of a scene leaves every other part as it was; a plain card behind head and shoulders
hides the far scene, so that a subject's box shows a face and nothing of the context.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

_SUPERSAMPLING = 3
_INK = (45, 35, 40)


@dataclass(frozen=True)
class Person:
    """One drawn person.

    Attributes:
        face: one of ``scene_rule.FACES``.
        near: one of ``scene_rule.NEAR_OBJECTS``.
        centre: (x, y) of the head, in image heights.
        radius: of the head, in image heights.
        near_centre: (x, y) of the near object, in image heights.
        near_radius: half the size of the near object, in image heights.
        seed: of hair, clothes, card and colours.
    """

    face: str
    near: str
    centre: tuple[float, float]
    radius: float
    near_centre: tuple[float, float]
    near_radius: float
    seed: int

    @property
    def box(self) -> Box:
        """Head and shoulders as (x0, y0, x1, y1), in image heights."""
        (x, y), r = self.centre, self.radius
        return x - 1.2 * r, y - 1.2 * r, x + 1.2 * r, y + 1.5 * r

    @property
    def near_box(self) -> Box:
        """The square around the near object as (x0, y0, x1, y1), in image heights."""
        (x, y), r = self.near_centre, self.near_radius
        return x - r, y - r, x + r, y + r


@dataclass(frozen=True)
class Scene:
    """All that is drawn in one picture.

    Attributes:
        far: one of ``scene_rule.FAR_SCENES``.
        persons: front row last.
        difficulty: 0 to 1; fades the cues towards grey and adds clutter.
        seed: of the far scene and the clutter.
    """

    far: str
    persons: tuple[Person, ...]
    difficulty: float
    seed: int


def draw_scene(scene: Scene, image_size: tuple[int, int]) -> Image.Image:
    """Draw a scene.

    Args:
        scene: what to draw.
        image_size: (width, height) in pixels.

    Returns:
        An RGB image of ``image_size``.
    """
    width, height = image_size
    pen = _Pen(width, height, fade=0.5 * scene.difficulty)
    rng = np.random.default_rng((scene.seed, 0))
    horizon = float(rng.uniform(0.45, 0.65))
    _FAR[scene.far](pen, rng, horizon)
    pen.fade = 0.0
    _draw_clutter(pen, np.random.default_rng((scene.seed, 1)), horizon, round(8 * scene.difficulty))
    for person in scene.persons:
        _draw_body(pen, person)
    for person in scene.persons:
        pen.fade = 0.5 * scene.difficulty
        _NEAR[person.near](pen, np.random.default_rng((person.seed, 1)), *person.near_centre, person.near_radius)
        pen.fade = 0.0
        _draw_bust(pen, person)
    return pen.image.reduce(_SUPERSAMPLING)


class _Pen:
    """Shapes in image heights on a supersampled canvas; ``fade`` in [0, 1] mixes every colour with grey."""

    def __init__(self, width: int, height: int, fade: float) -> None:
        self.scale = float(_SUPERSAMPLING * height)
        self.aspect = width / height
        self.fade = fade
        self.image = Image.new("RGB", (_SUPERSAMPLING * width, _SUPERSAMPLING * height))
        self._draw = ImageDraw.Draw(self.image)

    def _ink(self, colour: Sequence[float]) -> Colour:
        red, green, blue = (round((1 - self.fade) * channel + self.fade * 128) for channel in colour)
        return red, green, blue

    def _pixels(self, *lengths: float) -> list[int]:
        return [round(self.scale * length) for length in lengths]

    def gradient(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """A horizontal band whose colour runs from ``first`` to ``last``."""
        y0, y1 = self._pixels(top, bottom)
        ramp = np.linspace(self._ink(first), self._ink(last), max(y1 - y0, 1))
        column = Image.fromarray(ramp.round().astype(np.uint8)[:, None])
        self.image.paste(column.resize((self.image.width, column.height), Image.Resampling.NEAREST), (0, y0))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        self._draw.ellipse(self._pixels(x - rx, y - ry, x + rx, y + ry), fill=self._ink(colour))

    def disc(self, x: float, y: float, r: float, colour: Colour) -> None:
        self.oval(x, y, r, r, colour)

    def pie(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour) -> None:
        """A slice of an oval, angles in degrees clockwise from 3 o'clock."""
        self._draw.pieslice(self._pixels(x - rx, y - ry, x + rx, y + ry), start, end, fill=self._ink(colour))

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, w: float) -> None:
        box = self._pixels(x - rx, y - ry, x + rx, y + ry)
        self._draw.arc(box, start, end, fill=self._ink(colour), width=max(1, round(self.scale * w)))

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, corner: float = 0.0) -> None:
        self._draw.rounded_rectangle(self._pixels(x0, y0, x1, y1), self.scale * corner, fill=self._ink(colour))

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon([tuple(self._pixels(*point)) for point in points], fill=self._ink(colour))

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, w: float) -> None:
        pixels = [tuple(self._pixels(*point)) for point in points]
        self._draw.line(pixels, fill=self._ink(colour), width=max(1, round(self.scale * w)), joint="curve")


def _colour(rng: np.random.Generator, hue: tuple[float, float], saturation: float, value: float) -> Colour:
    """A random colour: hue uniform in a range of the colour wheel [0, 1], saturation and value within 0.08."""
    s, v = saturation + rng.uniform(-0.08, 0.08), value + rng.uniform(-0.08, 0.08)
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
    return round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2])


def _shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


# --- far scenes -----------------------------------------------------------------------------------------------------


def _draw_cloud(pen: _Pen, x: float, y: float, r: float, colour: Colour) -> None:
    for dx, dy, size in ((-1.2, 0.2, 0.7), (1.2, 0.2, 0.75), (0.0, 0.0, 1.0), (-0.6, 0.25, 0.8), (0.6, 0.25, 0.8)):
        pen.oval(x + dx * r, y + dy * r, size * r, 0.75 * size * r, colour)


def _draw_sun(pen: _Pen, rng: np.random.Generator) -> None:
    x, y, r = rng.uniform(0.1, pen.aspect - 0.1), rng.uniform(0.08, 0.16), rng.uniform(0.055, 0.085)
    colour = _colour(rng, (0.11, 0.15), 0.6, 0.98)
    for turn in np.arange(12) * pi / 6:
        start, end = 1.25 * r, 1.7 * r
        ray = [(x + start * cos(turn), y + start * sin(turn)), (x + end * cos(turn), y + end * sin(turn))]
        pen.line(ray, colour, 0.16 * r)
    pen.disc(x, y, r, colour)


def _draw_meadow(pen: _Pen, rng: np.random.Generator, horizon: float) -> None:
    pen.gradient(0, horizon, _colour(rng, (0.53, 0.60), 0.5, 0.92), _colour(rng, (0.5, 0.56), 0.2, 0.95))
    _draw_sun(pen, rng)
    for _ in range(2):
        _draw_cloud(pen, rng.uniform(0, pen.aspect), rng.uniform(0.08, 0.28), rng.uniform(0.04, 0.07), (250, 252, 255))
    green = _colour(rng, (0.24, 0.33), 0.55, 0.75)
    for factor in (0.85, 0.95):
        pen.oval(rng.uniform(0, pen.aspect), horizon + 0.1, 0.6, rng.uniform(0.15, 0.22), _shade(green, factor))
    pen.gradient(horizon, 1, _shade(green, 1.1), _shade(green, 0.85))
    for _ in range(30):
        x, y = rng.uniform(0, pen.aspect), rng.uniform(horizon + 0.03, 1)
        colour = _colour(rng, (-0.12, 0.16), 0.6, 0.95)
        for turn in np.arange(5) * 2 * pi / 5:
            pen.disc(x + 0.008 * cos(turn), y + 0.008 * sin(turn), 0.006, colour)
        pen.disc(x, y, 0.005, (250, 230, 120))


def _draw_beach(pen: _Pen, rng: np.random.Generator, horizon: float) -> None:
    pen.gradient(0, horizon, _colour(rng, (0.48, 0.55), 0.45, 0.95), _colour(rng, (0.05, 0.12), 0.2, 0.98))
    _draw_sun(pen, rng)
    sea, shore = _colour(rng, (0.47, 0.53), 0.6, 0.8), horizon + 0.14
    pen.gradient(horizon, shore, sea, _shade(sea, 1.2))
    for y in np.arange(horizon + 0.02, shore - 0.01, 0.025):
        x = rng.uniform(0, pen.aspect)
        pen.line([(x, y), (x + 0.12, y)], (240, 250, 250), 0.006)
    sand = _colour(rng, (0.10, 0.13), 0.35, 0.94)
    pen.gradient(shore, 1, sand, _shade(sand, 0.9))
    for x in np.arange(0, pen.aspect + 0.1, 0.1):
        pen.oval(x, shore, 0.06, 0.012, (250, 252, 250))
    for _ in range(3):
        x, y, r = rng.uniform(0.05, pen.aspect), rng.uniform(shore - 0.08, shore + 0.02), rng.uniform(0.09, 0.13)
        pen.line([(x, y), (x + 0.02, y + 1.5 * r)], (150, 110, 70), 0.012)
        colour = _colour(rng, (-0.05, 0.17), 0.7, 0.95)
        for part in range(4):
            pen.pie(x, y, r, 0.8 * r, 180 + 45 * part, 225 + 45 * part, (252, 250, 240) if part % 2 else colour)


def _draw_storm(pen: _Pen, rng: np.random.Generator, horizon: float) -> None:
    pen.gradient(0, horizon, _colour(rng, (0.58, 0.75), 0.2, 0.28), _colour(rng, (0.55, 0.7), 0.15, 0.5))
    for _ in range(6):
        colour = _colour(rng, (0.58, 0.75), 0.12, 0.36)
        _draw_cloud(pen, rng.uniform(0, pen.aspect), rng.uniform(0.0, 0.16), rng.uniform(0.07, 0.12), colour)
    for _ in range(2):
        x, y, r = rng.uniform(0.05, pen.aspect - 0.05), rng.uniform(0.1, 0.18), rng.uniform(0.9, 1.3)
        bolt = [(0.0, 0.0), (0.06, 0.0), (0.03, 0.09), (0.07, 0.09), (-0.03, 0.27), (0.0, 0.14), (-0.04, 0.14)]
        pen.polygon([(x + r * dx, y + r * dy) for dx, dy in bolt], (255, 236, 120))
    ground = _colour(rng, (0.1, 0.25), 0.2, 0.36)
    pen.gradient(horizon, 1, ground, _shade(ground, 0.75))
    for _ in range(5):
        x, y = rng.uniform(0, pen.aspect), rng.uniform(horizon + 0.05, 1)
        pen.oval(x, y, rng.uniform(0.06, 0.1), 0.016, _colour(rng, (0.58, 0.65), 0.2, 0.55))
    for x, y in rng.uniform((0, 0.1), (pen.aspect, 1), (90, 2)).tolist():
        pen.line([(x, y), (x - 0.012, y + 0.045)], (150, 165, 185), 0.004)


def _draw_night(pen: _Pen, rng: np.random.Generator, horizon: float) -> None:
    sky = _colour(rng, (0.64, 0.76), 0.6, 0.2)
    pen.gradient(0, horizon, sky, _shade(sky, 1.6))
    for x, y in rng.uniform((0, 0), (pen.aspect, horizon), (40, 2)).tolist():
        pen.disc(x, y, 0.004, (235, 235, 210))
    x, y, r = rng.uniform(0.1, pen.aspect - 0.1), rng.uniform(0.1, 0.16), rng.uniform(0.06, 0.08)
    pen.disc(x, y, r, (240, 235, 200))
    pen.disc(x + 0.45 * r, y - 0.2 * r, 0.85 * r, sky)
    ground = _colour(rng, (0.62, 0.75), 0.35, 0.17)
    pen.gradient(horizon, 1, ground, _shade(ground, 0.7))
    for _ in range(5):
        x, size = rng.uniform(0, pen.aspect), rng.uniform(0.25, 0.4)
        _draw_bare_tree(pen, x, horizon + 0.03, size, -pi / 2, 4, rng)
    for _ in range(3):
        x, y, r = rng.uniform(0.05, pen.aspect), horizon + rng.uniform(0.0, 0.1), rng.uniform(0.03, 0.045)
        pen.rectangle(x - r, y - 1.6 * r, x + r, y + 1.2 * r, _colour(rng, (0.6, 0.7), 0.1, 0.45), corner=0.9 * r)


def _draw_bare_tree(
    pen: _Pen, x: float, y: float, size: float, angle: float, depth: int, rng: np.random.Generator
) -> None:
    length = 0.4 * size
    end = x + length * cos(angle), y + length * sin(angle)
    pen.line([(x, y), end], (22, 18, 30), 0.012 * depth / 2)
    if depth > 1:
        for side in (-1, 1):
            _draw_bare_tree(pen, *end, 0.75 * size, angle + side * rng.uniform(0.3, 0.6), depth - 1, rng)


def _draw_clutter(pen: _Pen, rng: np.random.Generator, horizon: float, number: int) -> None:
    """Stones, crates and bushes that mean nothing."""
    for _ in range(number):
        kind, x, y, r = rng.integers(3), rng.uniform(0, pen.aspect), rng.uniform(horizon, 1), rng.uniform(0.02, 0.05)
        if kind == 0:
            pen.oval(x, y, 1.3 * r, r, _colour(rng, (0.0, 1.0), 0.1, 0.55))
        elif kind == 1:
            colour = _colour(rng, (0.05, 0.1), 0.5, 0.55)
            pen.rectangle(x - r, y - r, x + r, y + r, colour)
            pen.line([(x - r, y - r), (x + r, y + r)], _shade(colour, 0.7), 0.2 * r)
        else:
            _draw_cloud(pen, x, y, 0.6 * r, _colour(rng, (0.25, 0.4), 0.5, 0.45))


_FAR: dict[str, Callable[[_Pen, np.random.Generator, float], None]] = {
    "meadow": _draw_meadow,
    "beach": _draw_beach,
    "storm": _draw_storm,
    "night": _draw_night,
}


# --- near objects ---------------------------------------------------------------------------------------------------


def _draw_gift(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    paper, ribbon = _colour(rng, (0.85, 1.17), 0.7, 0.92), _colour(rng, (0.12, 0.17), 0.5, 0.98)
    for side in (-1, 1):
        pen.oval(x + side * 0.32 * r, y - 0.72 * r, 0.34 * r, 0.24 * r, ribbon)
        pen.oval(x + side * 0.32 * r, y - 0.72 * r, 0.16 * r, 0.10 * r, _shade(ribbon, 0.75))
    pen.rectangle(x - 0.82 * r, y - 0.5 * r, x + 0.82 * r, y + 0.95 * r, paper, corner=0.06 * r)
    pen.rectangle(x - 0.92 * r, y - 0.55 * r, x + 0.92 * r, y - 0.15 * r, _shade(paper, 0.85), corner=0.06 * r)
    pen.rectangle(x - 0.18 * r, y - 0.55 * r, x + 0.18 * r, y + 0.95 * r, ribbon)
    pen.disc(x, y - 0.66 * r, 0.14 * r, _shade(ribbon, 0.9))


def _draw_teddy(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    fur = _colour(rng, (0.06, 0.11), 0.55, 0.82)
    light, dark = _shade(fur, 1.22), _shade(fur, 0.85)
    for side in (-1, 1):
        pen.disc(x + side * 0.45 * r, y - 0.75 * r, 0.23 * r, dark)
        pen.oval(x + side * 0.66 * r, y + 0.2 * r, 0.26 * r, 0.3 * r, dark)
        pen.disc(x + side * 0.45 * r, y + 0.72 * r, 0.27 * r, dark)
    pen.oval(x, y + 0.35 * r, 0.62 * r, 0.6 * r, fur)
    pen.oval(x, y + 0.4 * r, 0.38 * r, 0.4 * r, light)
    pen.oval(x, y - 0.4 * r, 0.6 * r, 0.52 * r, fur)
    pen.oval(x, y - 0.25 * r, 0.26 * r, 0.2 * r, light)
    pen.disc(x, y - 0.32 * r, 0.09 * r, _INK)
    for side in (-1, 1):
        pen.disc(x + side * 0.24 * r, y - 0.52 * r, 0.08 * r, _INK)


def _draw_rubbish(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    bag = _colour(rng, (0.22, 0.42), 0.35, 0.3)
    pen.polygon([(x, y - 0.2 * r), (x - 0.3 * r, y - 0.75 * r), (x + 0.3 * r, y - 0.75 * r)], _shade(bag, 1.3))
    pen.oval(x, y + 0.35 * r, 0.85 * r, 0.6 * r, bag)
    pen.oval(x, y + 0.1 * r, 0.5 * r, 0.5 * r, bag)
    pen.arc(x - 0.1 * r, y + 0.35 * r, 0.5 * r, 0.4 * r, 150, 250, _shade(bag, 1.9), 0.09 * r)
    pen.rectangle(x - 0.2 * r, y - 0.38 * r, x + 0.2 * r, y - 0.26 * r, (200, 180, 60))
    slime = _colour(rng, (0.2, 0.28), 0.75, 0.75)
    pen.oval(x - 0.3 * r, y + 0.85 * r, 0.5 * r, 0.12 * r, slime)
    for _ in range(4):
        fly_x, fly_y = x + rng.uniform(-0.85, 0.85) * r, y + rng.uniform(-0.9, -0.3) * r
        pen.disc(fly_x, fly_y, 0.08 * r, _INK)


def _draw_spider(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    body = _colour(rng, (0.7, 0.85), 0.45, 0.2)
    for side in (-1, 1):
        for lift in (-0.75, -0.25, 0.25, 0.7):
            knee = x + side * 0.62 * r, y + (lift - 0.15) * r
            foot = x + side * 0.92 * r, y + (lift + 0.2) * r
            pen.line([(x, y + 0.2 * lift * r), knee, foot], body, 0.12 * r)
    pen.oval(x, y + 0.22 * r, 0.46 * r, 0.5 * r, body)
    pen.disc(x, y - 0.3 * r, 0.34 * r, _shade(body, 1.25))
    for side in (-1, 1):
        pen.disc(x + side * 0.14 * r, y - 0.36 * r, 0.1 * r, (240, 70, 60))


_NEAR: dict[str, Callable[[_Pen, np.random.Generator, float, float, float], None]] = {
    "gift": _draw_gift,
    "teddy": _draw_teddy,
    "rubbish": _draw_rubbish,
    "spider": _draw_spider,
}


# --- people ---------------------------------------------------------------------------------------------------------


def _clothes(person: Person) -> tuple[Colour, Colour]:
    rng = np.random.default_rng((person.seed, 2))
    return _colour(rng, (0.0, 1.0), 0.5, 0.75), _colour(rng, (0.5, 0.75), 0.4, 0.4)


def _draw_body(pen: _Pen, person: Person) -> None:
    """Torso and legs, below the subject's box."""
    (x, y), r = person.centre, person.radius
    shirt, trousers = _clothes(person)
    for side in (-1, 1):
        leg = x + side * 0.4 * r
        pen.rectangle(leg - 0.3 * r, y + 2.4 * r, leg + 0.3 * r, y + 3.9 * r, trousers)
        pen.oval(leg + side * 0.12 * r, y + 3.95 * r, 0.45 * r, 0.2 * r, _INK)
        arm = x + side * 0.98 * r
        pen.rectangle(arm - 0.22 * r, y + 1.3 * r, arm + 0.22 * r, y + 2.6 * r, _shade(shirt, 0.85), corner=0.2 * r)
    pen.rectangle(x - 0.85 * r, y + 1.2 * r, x + 0.85 * r, y + 2.7 * r, shirt, corner=0.2 * r)


def _draw_bust(pen: _Pen, person: Person) -> None:
    """The card, the shoulders and the head: all that the subject's box shows."""
    (x, y), r = person.centre, person.radius
    rng = np.random.default_rng((person.seed, 0))
    x0, y0, x1, y1 = person.box
    edge = 0.1 * r
    card = _colour(rng, (0.0, 1.0), 0.12, 0.9)
    pen.rectangle(x0 - edge, y0 - edge, x1 + edge, y1 + edge, _shade(card, 0.75), corner=0.2 * r)
    pen.rectangle(x0, y0, x1, y1, card)
    shirt = _clothes(person)[0]
    skin = _colour(rng, (0.05, 0.09), 0.4, float(rng.choice((0.95, 0.85, 0.6))))
    hair = _colour(rng, (0.02, 0.12), 0.55, float(rng.choice((0.2, 0.35, 0.7))))
    pen.pie(x, y + 1.5 * r, 1.15 * r, 0.75 * r, 180, 360, shirt)
    pen.rectangle(x - 0.25 * r, y + 0.7 * r, x + 0.25 * r, y + 1.1 * r, _shade(skin, 0.85), corner=0.1 * r)
    _draw_hair(pen, rng, x, y, r, hair, skin)
    _FACES[person.face](pen, rng, x, y, r)


def _draw_hair(
    pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float, hair: Colour, skin: Colour
) -> None:
    """The head with its hair: short, long or in a bun."""
    style = rng.integers(3)
    if style == 1:
        pen.rectangle(x - 1.05 * r, y - 0.5 * r, x + 1.05 * r, y + 1.0 * r, hair, corner=0.4 * r)
    elif style == 2:
        pen.disc(x, y - 0.95 * r, 0.22 * r, hair)
    pen.oval(x, y - 0.12 * r, 1.02 * r, 1.0 * r, hair)
    for side in (-1, 1):
        pen.disc(x + side * 0.92 * r, y + 0.15 * r, 0.17 * r, _shade(skin, 0.9))
    pen.oval(x, y + 0.1 * r, 0.9 * r, 0.88 * r, skin)
    pen.pie(x, y - 0.2 * r, 0.9 * r, 0.8 * r, 190, 350, hair)


def _draw_frown(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    tilt = rng.uniform(0.16, 0.24)
    for side in (-1, 1):
        pen.oval(x + side * 0.55 * r, y + 0.42 * r, 0.22 * r, 0.15 * r, (235, 95, 80))
        pen.disc(x + side * 0.36 * r, y + 0.16 * r, 0.13 * r, _INK)
        brow = [(x + side * 0.66 * r, y - (tilt + 0.02) * r), (x + side * 0.12 * r, y + (tilt - 0.14) * r)]
        pen.line(brow, _INK, 0.15 * r)
    pen.arc(x, y + 0.8 * r, 0.4 * r, rng.uniform(0.24, 0.32) * r, 195, 345, (120, 20, 30), 0.13 * r)


def _draw_gasp(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    wide = rng.uniform(0.22, 0.27)
    for side in (-1, 1):
        eye = x + side * 0.38 * r
        pen.disc(eye, y + 0.08 * r, wide * r, (255, 255, 255))
        pen.disc(eye, y + 0.08 * r, 0.1 * r, _INK)
        pen.arc(eye, y - 0.22 * r, 0.24 * r, 0.14 * r, 190, 350, _INK, 0.09 * r)
    pen.oval(x, y + 0.62 * r, rng.uniform(0.22, 0.28) * r, rng.uniform(0.25, 0.3) * r, (90, 15, 30))
    pen.oval(x, y + 0.74 * r, 0.14 * r, 0.1 * r, (230, 100, 110))


def _draw_mild(pen: _Pen, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        pen.oval(x + side * 0.36 * r, y + 0.12 * r, 0.1 * r, 0.13 * r, _INK)
        pen.line([(x + side * 0.5 * r, y - 0.14 * r), (x + side * 0.24 * r, y - 0.16 * r)], _INK, 0.07 * r)
    half = rng.uniform(0.2, 0.26)
    pen.line([(x - half * r, y + 0.56 * r), (x + half * r, y + 0.56 * r)], (150, 70, 70), 0.09 * r)


_FACES: dict[str, Callable[[_Pen, np.random.Generator, float, float, float], None]] = {
    "frown": _draw_frown,
    "gasp": _draw_gasp,
    "mild": _draw_mild,
}
