"""The input of a model for an image: its pixels, and how they are resized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from dsct.data.image_io import ImageInput, load_image
from dsct.data.transforms import LONG_SIDE, SHORT_SIDE, Transform

if TYPE_CHECKING:
    from dsct.modules import DSCT


class ModelInput(NamedTuple):
    """One image: as it was given, and as input of the model."""

    source: ImageInput
    size: tuple[int, int]  # width and height of the original
    pixels: torch.Tensor  # (3, H, W), resized and normalised


def resize_sides(model: DSCT, short_side: int | None, long_side: int | None) -> tuple[int | None, int]:
    """Short and long side of the resized image: as requested, else as stored with the weights, else the paper's."""
    for name, value in (("short_side", short_side), ("long_side", long_side)):
        if value is not None and not value >= 1:
            raise ValueError(f"predict: {name} must be at least 1 pixel, got {value}")
    stored = getattr(model, "preprocess", None) or {"short_side": SHORT_SIDE, "long_side": LONG_SIDE}
    short = stored["short_side"] if short_side is None else short_side
    long = stored["long_side"] if long_side is None else long_side
    if short is not None and long <= short:
        raise ValueError(f"predict: long_side must be greater than short_side, got {long} and {short}")
    return short, long


def prepare(source: ImageInput, image: Image.Image, transform: Transform) -> ModelInput:
    """The model's input for `image`, which was read from `source`."""
    pixels, _ = transform(image, {"boxes": torch.zeros(0, 4)})
    return ModelInput(source, image.size, pixels)


def read_each(
    images: Iterable[ImageInput], transform: Transform, on_error: Callable[[ImageInput, Exception], None] | None
) -> Iterator[ModelInput]:
    """Reads and prepares images one after the other; `on_error` is called for what cannot be read, None raises."""
    for source in images:
        try:
            prepared = prepare(source, load_image(source), transform)
        except Exception as error:  # Pillow's decoders raise many types for damaged files
            if on_error is None:
                raise
            on_error(source, error)
        else:
            yield prepared
