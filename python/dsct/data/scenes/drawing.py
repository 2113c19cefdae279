"""Draws a synthetic scene: far scene, clutter, bodies, then near objects and busts, back row before front row.

Each part makes its random choices with a generator of its own, so changing one cue of a scene leaves every other part
as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from dsct.data.scenes.backgrounds import draw_clutter, draw_far_scene
from dsct.data.scenes.canvas import Canvas
from dsct.data.scenes.figures import Person, draw_body, draw_bust, draw_near_object

# The share of grey in the cues at difficulty 1, and the amount of clutter.
_MOST_GREY = 0.5
_MOST_CLUTTER = 8


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn in one image.

    Attributes:
        far: one of ``rule.FAR_SCENES``.
        persons: front row last.
        difficulty: 0 to 1; fades the cues towards grey and adds clutter.
        seed: for the far scene and the clutter.
    """

    far: str
    persons: tuple[Person, ...]
    difficulty: float
    seed: int


def draw_scene(scene: Scene, image_size: tuple[int, int]) -> Image.Image:
    """Draws a scene.

    Args:
        scene: what to draw.
        image_size: (width, height) in pixels.

    Returns:
        An RGB image of ``image_size``.
    """
    canvas = Canvas(*image_size)
    grey = _MOST_GREY * scene.difficulty
    canvas.grey = grey
    horizon = draw_far_scene(canvas, scene.far, np.random.default_rng((scene.seed, 0)))
    canvas.grey = 0.0
    draw_clutter(canvas, np.random.default_rng((scene.seed, 1)), horizon, round(_MOST_CLUTTER * scene.difficulty))
    for person in scene.persons:
        draw_body(canvas, person)
    for person in scene.persons:
        canvas.grey = grey
        draw_near_object(canvas, person)
        canvas.grey = 0.0
        draw_bust(canvas, person)
    return canvas.finish()
