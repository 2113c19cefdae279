"""People and the near objects next to them. Lengths are in image heights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dsct.data.scenes.canvas import INK, Canvas, Colour, random_colour, shade

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Person:
    """One person of a scene.

    Attributes:
        face: one of ``rule.FACES``.
        near: one of ``rule.NEAR_OBJECTS``.
        centre: (x, y) of the head, in image heights.
        radius: of the head, in image heights.
        near_centre: (x, y) of the near object, in image heights.
        near_radius: half the size of the near object, in image heights.
        seed: for hair, clothes, card and colours.
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


def _draw_gift(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    paper, ribbon = random_colour(rng, (0.85, 1.17), 0.7, 0.92), random_colour(rng, (0.12, 0.17), 0.5, 0.98)
    for side in (-1, 1):
        canvas.oval(x + side * 0.32 * r, y - 0.72 * r, 0.34 * r, 0.24 * r, ribbon)
        canvas.oval(x + side * 0.32 * r, y - 0.72 * r, 0.16 * r, 0.10 * r, shade(ribbon, 0.75))
    canvas.rectangle(x - 0.82 * r, y - 0.5 * r, x + 0.82 * r, y + 0.95 * r, paper, corner=0.06 * r)
    canvas.rectangle(x - 0.92 * r, y - 0.55 * r, x + 0.92 * r, y - 0.15 * r, shade(paper, 0.85), corner=0.06 * r)
    canvas.rectangle(x - 0.18 * r, y - 0.55 * r, x + 0.18 * r, y + 0.95 * r, ribbon)
    canvas.disc(x, y - 0.66 * r, 0.14 * r, shade(ribbon, 0.9))


def _draw_teddy(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    fur = random_colour(rng, (0.06, 0.11), 0.55, 0.82)
    light, dark = shade(fur, 1.22), shade(fur, 0.85)
    for side in (-1, 1):
        canvas.disc(x + side * 0.45 * r, y - 0.75 * r, 0.23 * r, dark)
        canvas.oval(x + side * 0.66 * r, y + 0.2 * r, 0.26 * r, 0.3 * r, dark)
        canvas.disc(x + side * 0.45 * r, y + 0.72 * r, 0.27 * r, dark)
    canvas.oval(x, y + 0.35 * r, 0.62 * r, 0.6 * r, fur)
    canvas.oval(x, y + 0.4 * r, 0.38 * r, 0.4 * r, light)
    canvas.oval(x, y - 0.4 * r, 0.6 * r, 0.52 * r, fur)
    canvas.oval(x, y - 0.25 * r, 0.26 * r, 0.2 * r, light)
    canvas.disc(x, y - 0.32 * r, 0.09 * r, INK)
    for side in (-1, 1):
        canvas.disc(x + side * 0.24 * r, y - 0.52 * r, 0.08 * r, INK)


def _draw_rubbish(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    bag = random_colour(rng, (0.22, 0.42), 0.35, 0.3)
    canvas.polygon([(x, y - 0.2 * r), (x - 0.3 * r, y - 0.75 * r), (x + 0.3 * r, y - 0.75 * r)], shade(bag, 1.3))
    canvas.oval(x, y + 0.35 * r, 0.85 * r, 0.6 * r, bag)
    canvas.oval(x, y + 0.1 * r, 0.5 * r, 0.5 * r, bag)
    canvas.arc(x - 0.1 * r, y + 0.35 * r, 0.5 * r, 0.4 * r, 150, 250, shade(bag, 1.9), 0.09 * r)
    canvas.rectangle(x - 0.2 * r, y - 0.38 * r, x + 0.2 * r, y - 0.26 * r, (200, 180, 60))
    slime = random_colour(rng, (0.2, 0.28), 0.75, 0.75)
    canvas.oval(x - 0.3 * r, y + 0.85 * r, 0.5 * r, 0.12 * r, slime)
    for _ in range(4):
        fly_x, fly_y = x + rng.uniform(-0.85, 0.85) * r, y + rng.uniform(-0.9, -0.3) * r
        canvas.disc(fly_x, fly_y, 0.08 * r, INK)


def _draw_spider(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    body = random_colour(rng, (0.7, 0.85), 0.45, 0.2)
    # A pale web: without it the spider could not be seen at night.
    canvas.disc(x, y, 0.95 * r, random_colour(rng, (0.6, 0.8), 0.08, 0.78))
    for side in (-1, 1):
        for lift in (-0.75, -0.25, 0.25, 0.7):
            knee = x + side * 0.62 * r, y + (lift - 0.15) * r
            foot = x + side * 0.92 * r, y + (lift + 0.2) * r
            canvas.line([(x, y + 0.2 * lift * r), knee, foot], body, 0.12 * r)
    canvas.oval(x, y + 0.22 * r, 0.46 * r, 0.5 * r, body)
    canvas.disc(x, y - 0.3 * r, 0.34 * r, shade(body, 1.25))
    for side in (-1, 1):
        canvas.disc(x + side * 0.14 * r, y - 0.36 * r, 0.1 * r, (240, 70, 60))


_NEAR_OBJECTS: dict[str, Callable[[Canvas, np.random.Generator, float, float, float], None]] = {
    "gift": _draw_gift,
    "teddy": _draw_teddy,
    "rubbish": _draw_rubbish,
    "spider": _draw_spider,
}


def draw_near_object(canvas: Canvas, person: Person) -> None:
    """Draws the object beside a person."""
    rng = np.random.default_rng((person.seed, 1))
    _NEAR_OBJECTS[person.near](canvas, rng, *person.near_centre, person.near_radius)


def _clothes(person: Person) -> tuple[Colour, Colour]:
    rng = np.random.default_rng((person.seed, 2))
    return random_colour(rng, (0.0, 1.0), 0.5, 0.75), random_colour(rng, (0.5, 0.75), 0.4, 0.4)


def draw_body(canvas: Canvas, person: Person) -> None:
    """Torso and legs, below the subject's box."""
    (x, y), r = person.centre, person.radius
    shirt, trousers = _clothes(person)
    for side in (-1, 1):
        leg = x + side * 0.4 * r
        canvas.rectangle(leg - 0.3 * r, y + 2.4 * r, leg + 0.3 * r, y + 3.9 * r, trousers)
        canvas.oval(leg + side * 0.12 * r, y + 3.95 * r, 0.45 * r, 0.2 * r, INK)
        arm = x + side * 0.98 * r
        canvas.rectangle(arm - 0.22 * r, y + 1.3 * r, arm + 0.22 * r, y + 2.6 * r, shade(shirt, 0.85), corner=0.2 * r)
    canvas.rectangle(x - 0.85 * r, y + 1.2 * r, x + 0.85 * r, y + 2.7 * r, shirt, corner=0.2 * r)


def _draw_hair(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float, hair: Colour, skin: Colour
) -> None:
    """The head with its hair: short, long or in a bun."""
    style = rng.integers(3)
    if style == 1:
        canvas.rectangle(x - 1.05 * r, y - 0.5 * r, x + 1.05 * r, y + 1.0 * r, hair, corner=0.4 * r)
    elif style == 2:
        canvas.disc(x, y - 0.95 * r, 0.22 * r, hair)
    canvas.oval(x, y - 0.12 * r, 1.02 * r, 1.0 * r, hair)
    for side in (-1, 1):
        canvas.disc(x + side * 0.92 * r, y + 0.15 * r, 0.17 * r, shade(skin, 0.9))
    canvas.oval(x, y + 0.1 * r, 0.9 * r, 0.88 * r, skin)
    canvas.pie(x, y - 0.2 * r, 0.9 * r, 0.8 * r, 190, 350, hair)


def _draw_frown(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    tilt = rng.uniform(0.16, 0.24)
    for side in (-1, 1):
        canvas.oval(x + side * 0.55 * r, y + 0.42 * r, 0.22 * r, 0.15 * r, (235, 95, 80))
        canvas.disc(x + side * 0.36 * r, y + 0.16 * r, 0.13 * r, INK)
        brow = [(x + side * 0.66 * r, y - (tilt + 0.02) * r), (x + side * 0.12 * r, y + (tilt - 0.14) * r)]
        canvas.line(brow, INK, 0.15 * r)
    canvas.arc(x, y + 0.8 * r, 0.4 * r, rng.uniform(0.24, 0.32) * r, 195, 345, (120, 20, 30), 0.13 * r)


def _draw_gasp(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    wide = rng.uniform(0.22, 0.27)
    for side in (-1, 1):
        eye = x + side * 0.38 * r
        canvas.disc(eye, y + 0.08 * r, wide * r, (255, 255, 255))
        canvas.disc(eye, y + 0.08 * r, 0.1 * r, INK)
        canvas.arc(eye, y - 0.22 * r, 0.24 * r, 0.14 * r, 190, 350, INK, 0.09 * r)
    canvas.oval(x, y + 0.62 * r, rng.uniform(0.22, 0.28) * r, rng.uniform(0.25, 0.3) * r, (90, 15, 30))
    canvas.oval(x, y + 0.74 * r, 0.14 * r, 0.1 * r, (230, 100, 110))


def _draw_mild(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        canvas.oval(x + side * 0.36 * r, y + 0.12 * r, 0.1 * r, 0.13 * r, INK)
        canvas.line([(x + side * 0.5 * r, y - 0.14 * r), (x + side * 0.24 * r, y - 0.16 * r)], INK, 0.07 * r)
    half = rng.uniform(0.2, 0.26)
    canvas.line([(x - half * r, y + 0.56 * r), (x + half * r, y + 0.56 * r)], (150, 70, 70), 0.09 * r)


_FACES: dict[str, Callable[[Canvas, np.random.Generator, float, float, float], None]] = {
    "frown": _draw_frown,
    "gasp": _draw_gasp,
    "mild": _draw_mild,
}


def draw_bust(canvas: Canvas, person: Person) -> None:
    """The card, the shoulders and the head: everything that the subject's box shows."""
    (x, y), r = person.centre, person.radius
    rng = np.random.default_rng((person.seed, 0))
    x0, y0, x1, y1 = person.box
    edge = 0.1 * r
    card = random_colour(rng, (0.0, 1.0), 0.12, 0.9)
    canvas.rectangle(x0 - edge, y0 - edge, x1 + edge, y1 + edge, shade(card, 0.75), corner=0.2 * r)
    canvas.rectangle(x0, y0, x1, y1, card)
    shirt = _clothes(person)[0]
    # Over the rim of the card, so that the bust joins the body.
    canvas.rectangle(x - 0.85 * r, y1, x + 0.85 * r, y1 + 2 * edge, shirt)
    skin = random_colour(rng, (0.05, 0.09), 0.4, float(rng.choice((0.95, 0.85, 0.6))))
    hair = random_colour(rng, (0.02, 0.12), 0.55, float(rng.choice((0.2, 0.35, 0.7))))
    canvas.pie(x, y + 1.5 * r, 1.15 * r, 0.75 * r, 180, 360, shirt)
    canvas.rectangle(x - 0.25 * r, y + 0.7 * r, x + 0.25 * r, y + 1.1 * r, shade(skin, 0.85), corner=0.1 * r)
    _draw_hair(canvas, rng, x, y, r, hair, skin)
    _FACES[person.face](canvas, rng, x, y, r)
