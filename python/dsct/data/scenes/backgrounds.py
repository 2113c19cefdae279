"""The far scenes, and clutter without meaning. Lengths are in image heights."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np

from dsct.data.scenes.canvas import Canvas, Colour, random_colour, shade


def _draw_cloud(canvas: Canvas, x: float, y: float, r: float, colour: Colour) -> None:
    for dx, dy, size in ((-1.2, 0.2, 0.7), (1.2, 0.2, 0.75), (0.0, 0.0, 1.0), (-0.6, 0.25, 0.8), (0.6, 0.25, 0.8)):
        canvas.oval(x + dx * r, y + dy * r, size * r, 0.75 * size * r, colour)


def _draw_sun(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y, r = rng.uniform(0.1, canvas.aspect - 0.1), rng.uniform(0.08, 0.16), rng.uniform(0.055, 0.085)
    colour = random_colour(rng, (0.11, 0.15), 0.6, 0.98)
    for turn in np.arange(12) * pi / 6:
        start, end = 1.25 * r, 1.7 * r
        ray = [(x + start * cos(turn), y + start * sin(turn)), (x + end * cos(turn), y + end * sin(turn))]
        canvas.line(ray, colour, 0.16 * r)
    canvas.disc(x, y, r, colour)


def _draw_meadow(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    canvas.gradient(0, horizon, random_colour(rng, (0.53, 0.60), 0.5, 0.92), random_colour(rng, (0.5, 0.56), 0.2, 0.95))
    _draw_sun(canvas, rng)
    for _ in range(2):
        _draw_cloud(
            canvas, rng.uniform(0, canvas.aspect), rng.uniform(0.08, 0.28), rng.uniform(0.04, 0.07), (250, 252, 255)
        )
    green = random_colour(rng, (0.24, 0.33), 0.55, 0.75)
    for factor in (0.85, 0.95):
        canvas.oval(rng.uniform(0, canvas.aspect), horizon + 0.1, 0.6, rng.uniform(0.15, 0.22), shade(green, factor))
    canvas.gradient(horizon, 1, shade(green, 1.1), shade(green, 0.85))
    for _ in range(30):
        x, y = rng.uniform(0, canvas.aspect), rng.uniform(horizon + 0.03, 1)
        colour = random_colour(rng, (-0.12, 0.16), 0.6, 0.95)
        for turn in np.arange(5) * 2 * pi / 5:
            canvas.disc(x + 0.008 * cos(turn), y + 0.008 * sin(turn), 0.006, colour)
        canvas.disc(x, y, 0.005, (250, 230, 120))


def _draw_beach(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    canvas.gradient(
        0, horizon, random_colour(rng, (0.48, 0.55), 0.45, 0.95), random_colour(rng, (0.05, 0.12), 0.2, 0.98)
    )
    _draw_sun(canvas, rng)
    sea, shore = random_colour(rng, (0.47, 0.53), 0.6, 0.8), horizon + 0.14
    canvas.gradient(horizon, shore, sea, shade(sea, 1.2))
    for y in np.arange(horizon + 0.02, shore - 0.01, 0.025):
        x = rng.uniform(0, canvas.aspect)
        canvas.line([(x, y), (x + 0.12, y)], (240, 250, 250), 0.006)
    sand = random_colour(rng, (0.10, 0.13), 0.35, 0.94)
    canvas.gradient(shore, 1, sand, shade(sand, 0.9))
    for x in np.arange(0, canvas.aspect + 0.1, 0.1):
        canvas.oval(x, shore, 0.06, 0.012, (250, 252, 250))
    for _ in range(3):
        x, y, r = rng.uniform(0.05, canvas.aspect), rng.uniform(shore - 0.08, shore + 0.02), rng.uniform(0.09, 0.13)
        canvas.line([(x, y), (x + 0.02, y + 1.5 * r)], (150, 110, 70), 0.012)
        colour = random_colour(rng, (-0.05, 0.17), 0.7, 0.95)
        for part in range(4):
            canvas.pie(x, y, r, 0.8 * r, 180 + 45 * part, 225 + 45 * part, (252, 250, 240) if part % 2 else colour)


def _draw_storm(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    canvas.gradient(0, horizon, random_colour(rng, (0.58, 0.75), 0.2, 0.28), random_colour(rng, (0.55, 0.7), 0.15, 0.5))
    for _ in range(6):
        colour = random_colour(rng, (0.58, 0.75), 0.12, 0.36)
        _draw_cloud(canvas, rng.uniform(0, canvas.aspect), rng.uniform(0.0, 0.16), rng.uniform(0.07, 0.12), colour)
    for _ in range(2):
        x, y, r = rng.uniform(0.05, canvas.aspect - 0.05), rng.uniform(0.1, 0.18), rng.uniform(0.9, 1.3)
        bolt = [(0.0, 0.0), (0.06, 0.0), (0.03, 0.09), (0.07, 0.09), (-0.03, 0.27), (0.0, 0.14), (-0.04, 0.14)]
        canvas.polygon([(x + r * dx, y + r * dy) for dx, dy in bolt], (255, 236, 120))
    ground = random_colour(rng, (0.1, 0.25), 0.2, 0.36)
    canvas.gradient(horizon, 1, ground, shade(ground, 0.75))
    for _ in range(5):
        x, y = rng.uniform(0, canvas.aspect), rng.uniform(horizon + 0.05, 1)
        canvas.oval(x, y, rng.uniform(0.06, 0.1), 0.016, random_colour(rng, (0.58, 0.65), 0.2, 0.55))
    for x, y in rng.uniform((0, 0.1), (canvas.aspect, 1), (90, 2)).tolist():
        canvas.line([(x, y), (x - 0.012, y + 0.045)], (150, 165, 185), 0.004)


def _draw_night(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    sky = random_colour(rng, (0.64, 0.76), 0.6, 0.2)
    canvas.gradient(0, horizon, sky, shade(sky, 1.6))
    for x, y in rng.uniform((0, 0), (canvas.aspect, horizon), (40, 2)).tolist():
        canvas.disc(x, y, 0.004, (235, 235, 210))
    x, y, r = rng.uniform(0.1, canvas.aspect - 0.1), rng.uniform(0.1, 0.16), rng.uniform(0.06, 0.08)
    canvas.disc(x, y, r, (240, 235, 200))
    canvas.disc(x + 0.45 * r, y - 0.2 * r, 0.85 * r, sky)
    ground = random_colour(rng, (0.62, 0.75), 0.35, 0.17)
    canvas.gradient(horizon, 1, ground, shade(ground, 0.7))
    for _ in range(5):
        x, size = rng.uniform(0, canvas.aspect), rng.uniform(0.25, 0.4)
        _draw_bare_tree(canvas, x, horizon + 0.03, size, -pi / 2, 4, rng)
    for _ in range(3):
        x, y, r = rng.uniform(0.05, canvas.aspect), horizon + rng.uniform(0.0, 0.1), rng.uniform(0.03, 0.045)
        canvas.rectangle(
            x - r, y - 1.6 * r, x + r, y + 1.2 * r, random_colour(rng, (0.6, 0.7), 0.1, 0.45), corner=0.9 * r
        )


def _draw_bare_tree(
    canvas: Canvas, x: float, y: float, size: float, angle: float, depth: int, rng: np.random.Generator
) -> None:
    length = 0.4 * size
    end = x + length * cos(angle), y + length * sin(angle)
    canvas.line([(x, y), end], (22, 18, 30), 0.012 * depth / 2)
    if depth > 1:
        for side in (-1, 1):
            _draw_bare_tree(canvas, *end, 0.75 * size, angle + side * rng.uniform(0.3, 0.6), depth - 1, rng)


_FAR_SCENES: dict[str, Callable[[Canvas, np.random.Generator, float], None]] = {
    "meadow": _draw_meadow,
    "beach": _draw_beach,
    "storm": _draw_storm,
    "night": _draw_night,
}


def draw_far_scene(canvas: Canvas, far: str, rng: np.random.Generator) -> float:
    """Fills the canvas with a far scene.

    Args:
        canvas: where to draw.
        far: one of ``rule.FAR_SCENES``.
        rng: chooses place, size and colour of what is drawn.

    Returns:
        The height of the horizon.
    """
    horizon = float(rng.uniform(0.45, 0.65))
    _FAR_SCENES[far](canvas, rng, horizon)
    return horizon


def draw_clutter(canvas: Canvas, rng: np.random.Generator, horizon: float, number: int) -> None:
    """Stones, crates and bushes without meaning."""
    for _ in range(number):
        kind, x, y, r = rng.integers(3), rng.uniform(0, canvas.aspect), rng.uniform(horizon, 1), rng.uniform(0.02, 0.05)
        if kind == 0:
            canvas.oval(x, y, 1.3 * r, r, random_colour(rng, (0.0, 1.0), 0.1, 0.55))
        elif kind == 1:
            colour = random_colour(rng, (0.05, 0.1), 0.5, 0.55)
            canvas.rectangle(x - r, y - r, x + r, y + r, colour)
            canvas.line([(x - r, y - r), (x + r, y + r)], shade(colour, 0.7), 0.2 * r)
        else:
            _draw_cloud(canvas, x, y, 0.6 * r, random_colour(rng, (0.25, 0.4), 0.5, 0.45))
