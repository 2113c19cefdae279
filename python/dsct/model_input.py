"""What a model gets for a picture: its size after resizing, its pixels, and the mode it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from dsct.data.transforms import LONG_SIDE, SHORT_SIDE
from dsct.image_io import ImageInput

if TYPE_CHECKING:
    from dsct import DSCT


class ModelInput(NamedTuple):
    """One picture: as it was given, and as the model gets it."""

    source: ImageInput
    size: tuple[int, int]  # width and height of the original
    pixels: torch.Tensor  # (3, H, W), resized and normalised


def resize_sides(model: DSCT, short_side: int | None, long_side: int | None) -> tuple[int | None, int]:
    """Short and long side of the resized picture: as asked, else as stored with the weights, else the paper's."""
    for name, value in (("short_side", short_side), ("long_side", long_side)):
        if value is not None and value < 1:
            raise ValueError(f"predict: {name} must be at least 1 pixel, got {value}")
    stored = getattr(model, "preprocess", None) or {"short_side": SHORT_SIDE, "long_side": LONG_SIDE}
    short = stored["short_side"] if short_side is None else short_side
    long = stored["long_side"] if long_side is None else long_side
    if short is not None and long <= short:
        raise ValueError(f"predict: long_side must be greater than short_side, got {long} and {short}")
    return short, long


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts `model` in evaluation mode and every part of it back into its own mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
