"""People drawn onto their image, fast enough for the frames of a video; `dsct.visualize` draws figures to read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from dsct.data.image_io import ImageInput, load_image
from dsct.prediction.people import People, Person
from dsct.prediction.person_colors import ink, person_color

_DARK = "#1A1A1A"
_LINES_PER_IMAGE = 30  # the height of a tag's text, and with it the width of a box, follows that of the image
_LEAST_TEXT = 11  # pixels


def annotate(image: ImageInput, people: People) -> Image.Image:
    """Draws a box around each person, with number, most probable reported emotion and the number of further ones.

    Args:
        image: anything `dsct.data.image_io.load_image` reads; boxes are in its pixels.
        people: the result of `dsct.predict` for this image.

    Returns:
        A new RGB image of the size of `image`.

    Raises:
        TypeError: `image` has an unsupported type.
        ValueError: the image has a wrong shape.
        OSError: the image cannot be read.

    Example:
        >>> import dsct, numpy as np
        >>> blank = np.zeros((60, 80, 3), dtype=np.uint8)
        >>> people = dsct.predict(blank, dsct.DSCT(dsct.DSCTConfig.tiny()), short_side=60)
        >>> annotate(blank, people).size
        (80, 60)
    """
    annotated = load_image(image)
    draw = ImageDraw.Draw(annotated)
    text_size = max(min(annotated.size) // _LINES_PER_IMAGE, _LEAST_TEXT)
    line = max(text_size // 5, 2)
    for index, person in enumerate(people):
        x1, y1, x2, y2 = (round(value) for value in person.box)
        # A dark outline keeps light colours readable on light images.
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_DARK, width=line + 2)
        draw.rectangle((x1, y1, x2, y2), outline=person_color(index), width=line)
    for index, person in enumerate(people):
        _draw_tag(draw, annotated.size, index, person, _font(text_size))
    return annotated


def _draw_tag(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], index: int, person: Person, font: ImageFont.FreeTypeFont
) -> None:
    """Above the box if there is room, else inside it; always within the image unless wider than the image."""
    text, color = _tag(index, person), person_color(index)
    pad = font.size / 4
    width, height = draw.textlength(text, font) + 2 * pad, sum(font.getmetrics())
    left = max(min(person.box[0], size[0] - width), 0)
    top = person.box[1] - height
    top = top if top >= 0 else max(min(person.box[1], size[1] - height), 0)
    draw.rectangle((left, top, left + width, top + height), fill=color)
    draw.text((left + pad, top), text, fill=ink(color), font=font)


def _tag(index: int, person: Person) -> str:
    if not person.labels:
        return str(index + 1)
    first = max(person.labels, key=lambda label: person.probabilities[label])
    more = f" +{len(person.labels) - 1}" if len(person.labels) > 1 else ""
    return f"{index + 1} {first} {person.probabilities[first]:.2f}{more}"


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has letters that Pillow's own font lacks."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf", size)
