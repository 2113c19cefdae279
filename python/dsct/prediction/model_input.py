"""What a model gets for an image: its pixels, and how they are resized."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from dsct.data.transforms import LONG_SIDE, SHORT_SIDE
from dsct.image_io import ImageInput

if TYPE_CHECKING:
    from dsct.modules import DSCT


class ModelInput(NamedTuple):
    """One image: as it was given, and as the model gets it."""

    source: ImageInput
    size: tuple[int, int]  # width and height of the original
    pixels: torch.Tensor  # (3, H, W), resized and normalised


def resize_sides(model: DSCT, short_side: int | None, long_side: int | None) -> tuple[int | None, int]:
    """Short and long side of the resized image: as asked, else as stored with the weights, else the paper's."""
    for name, value in (("short_side", short_side), ("long_side", long_side)):
        if value is not None and value < 1:
            raise ValueError(f"predict: {name} must be at least 1 pixel, got {value}")
    stored = getattr(model, "preprocess", None) or {"short_side": SHORT_SIDE, "long_side": LONG_SIDE}
    short = stored["short_side"] if short_side is None else short_side
    long = stored["long_side"] if long_side is None else long_side
    if short is not None and long <= short:
        raise ValueError(f"predict: long_side must be greater than short_side, got {long} and {short}")
    return short, long
