"""The colours of people in figures, annotated images and the page; they can be told apart with colour blindness."""

from __future__ import annotations

from PIL import ImageColor

# Okabe and Ito's colours, without black and vermillion, which is too close to the red of a wrong label.
PERSON_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#CC79A7")
WRONG_COLOR = "#C00000"


def person_color(index: int) -> str:
    """The colour of person `index`, from 0; colours repeat after six.

    Example:
        >>> person_color(0) == person_color(6) != person_color(1)
        True
    """
    return PERSON_COLORS[index % len(PERSON_COLORS)]


def ink(background: str) -> str:
    """Black or white, whichever reads better on `background` (Rec. 709 luma)."""
    red, green, blue = ImageColor.getrgb(background)[:3]
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.4 * 255 else "white"
