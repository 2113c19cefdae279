"""A picture as the model sees it: read, resized and normalised as in `dsct.predict`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from dsct.data.transforms import evaluation_transform
from dsct.image_io import ImageInput, load_image
from dsct.modules.evaluating import evaluating
from dsct.prediction.model_input import ModelInput, resize_sides
from dsct.prediction.shipped_weights import resolve_model

if TYPE_CHECKING:
    from dsct.modules import DSCT


@dataclass(frozen=True, eq=False)
class ModelView:
    """One picture in front of a model.

    Attributes:
        model: the model.
        picture: the original, upright, in RGB.
        prepared: what the model gets, with its source and the size of the original.
        note: what the reader must know about the weights, or None.
    """

    model: DSCT
    picture: Image.Image
    prepared: ModelInput
    note: str | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original."""
        return self.prepared.size

    def run(self, call: Callable[[DSCT, Tensor], Any]) -> Any:
        """What ``call(model, pixels)`` returns, in evaluation mode and without gradients; `pixels` (1, 3, H, W)."""
        parameter = next(self.model.parameters())
        with evaluating(self.model), torch.no_grad():
            return call(self.model, self.prepared.pixels[None].to(parameter.device, parameter.dtype))


def view(
    image: ImageInput,
    model: DSCT | str | os.PathLike[str] | None = None,
    *,
    short_side: int | None = None,
    long_side: int | None = None,
    device: str | torch.device | None = None,
) -> ModelView:
    """Puts a picture in front of a model; the arguments are those of `dsct.predict`.

    Example:
        >>> import dsct, numpy as np
        >>> seen = view(np.zeros((96, 128, 3), dtype=np.uint8), dsct.DSCT(dsct.DSCTConfig.tiny()), short_side=48)
        >>> seen.size, tuple(seen.prepared.pixels.shape)
        ((128, 96), (3, 48, 64))
    """
    module, note = resolve_model(model, device)
    picture = load_image(image)
    pixels, _ = evaluation_transform(*resize_sides(module, short_side, long_side))(
        picture, {"boxes": torch.zeros(0, 4)}
    )
    return ModelView(module, picture, ModelInput(image, picture.size, pixels), note)
