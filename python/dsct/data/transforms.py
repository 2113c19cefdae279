"""Image and box transforms: Deformable DETR's training augmentation and the evaluation resize (paper, App. C).

Every pipeline maps (image, target) to (image, target). It starts from a PIL image, which becomes a uint8 tensor
immediately because torchvision resizes those faster, and from
:meth:`dsct.data.records.Annotations.to_target`, and ends with the input of the model and the criterion. Random numbers
come from torch's global generator only, so that seeding torch fixes the augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torchvision.ops import box_convert
from torchvision.transforms import v2

from dsct.data.records import Target

Transform = Callable[[Any, Target], tuple[Any, Target]]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SHORT_SIDES = tuple(range(480, 801, 32))
CROP_FROM = (400, 500, 600)
CROP_SIDES = (384, 600)
SHORT_SIDE = 800
LONG_SIDE = 1333


class RandomSizeCrop(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Crops a window whose height and width are chosen separately, each uniform over [low, high].

    The range is clipped to the image, so a small image is never padded.

    Args:
        low: smallest side in pixels.
        high: largest side.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        # The image is the first argument of every pipeline here.
        full_height, full_width = v2.functional.get_size(flat_inputs[0])
        height, width = self._draw_side(full_height), self._draw_side(full_width)
        top = int(torch.randint(full_height - height + 1, ()))
        left = int(torch.randint(full_width - width + 1, ()))
        return {"top": top, "left": left, "height": height, "width": width}

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        return self._call_kernel(v2.functional.crop, inpt, **params)

    def _draw_side(self, full: int) -> int:
        high = min(self.high, full)
        low = min(self.low, high)
        return int(torch.randint(low, high + 1, ()))


class Resize(v2.Resize):  # type: ignore[misc]  # torchvision has no types
    """torchvision's, with a clear error for an image so narrow that a side would vanish.

    Args:
        short_side: short side in pixels.
        long_side: the long side never exceeds this; ``None`` sets no limit.

    Raises:
        ValueError: when called with such an image.
    """

    def __init__(self, short_side: int, long_side: int | None) -> None:
        super().__init__([short_side], max_size=long_side)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        height, width = v2.functional.get_size(inpt)
        if self.max_size is not None and self.max_size * min(height, width) < max(height, width):
            raise ValueError(
                f"image of {width} x {height} pixels is too narrow to be resized to {self.max_size} at most"
            )
        return super().transform(inpt, params)


class ToModelInput:
    """Turns the image into an ImageNet-normalised tensor and the boxes into fractions of the image.

    Called with a PIL image or (3, H, W) uint8 tensor and a target whose ``boxes`` are pixel ``x1 y1 x2 y2``; returns a
    plain (3, H, W) float32 tensor and a target whose ``boxes`` are a plain (n, 4) float32 tensor, cxcywh in [0, 1].
    """

    def __init__(self) -> None:
        self._to_tensor = v2.Compose(
            [
                v2.ToImage(),
                # Pillow's channels are interleaved: normalising them in this layout takes twice as long.
                v2.Lambda(torch.Tensor.contiguous),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD, inplace=True),
                v2.ToPureTensor(),
            ]
        )

    def __call__(self, image: Any, target: Target) -> tuple[torch.Tensor, Target]:
        pixels = self._to_tensor(image)
        height, width = pixels.shape[-2:]
        boxes = torch.as_tensor(target["boxes"]).as_subclass(torch.Tensor)
        scale = torch.tensor([width, height, width, height], dtype=torch.float32)
        return pixels, {**target, "boxes": box_convert(boxes, "xyxy", "cxcywh") / scale}


def training_transform(
    short_sides: Sequence[int] = SHORT_SIDES,
    long_side: int = LONG_SIDE,
    crop_from: Sequence[int] = CROP_FROM,
    crop_sides: tuple[int, int] = CROP_SIDES,
) -> Transform:
    """The augmentation of training.

    Horizontal flip with probability ½. Then, with probability ½, resize the short side to one of ``short_sides``; else
    resize it to one of ``crop_from``, crop, and resize to one of ``short_sides``. People outside the crop are removed
    from the target.

    Args:
        short_sides: short sides in pixels; one is chosen per image.
        long_side: the long side never exceeds this, whatever the short side becomes.
        crop_from: short sides from which a crop is taken.
        crop_sides: smallest and largest side of the crop.

    Returns:
        A callable (image, target) -> (image (3, H, W) float32, target with normalised cxcywh boxes).

    Example:
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> transform = training_transform((60,), crop_from=(50,), crop_sides=(20, 40))
        >>> image, target = SyntheticDataset("train", 1, transforms=transform)[0]
        >>> min(image.shape[1:])
        60
    """
    resize = _random_resize(short_sides, long_side)
    crop = v2.Compose([_random_resize(crop_from, None), RandomSizeCrop(*crop_sides), resize])
    pipeline: Transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomChoice([resize, crop]),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(),
            ToModelInput(),
        ]
    )
    return pipeline


def flip_transform(short_side: int | None = None, long_side: int = LONG_SIDE) -> Transform:
    """Horizontal flip with probability ½ and the resize of evaluation: for images that are already small.

    Args:
        short_side: short side in pixels; ``None`` keeps the size of the image.
        long_side: upper limit of the long side.

    Returns:
        A callable as :func:`training_transform` returns.

    Example:
        >>> from PIL import Image
        >>> nobody = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
        >>> image, target = flip_transform(60)(Image.new("RGB", (120, 80)), nobody)
        >>> tuple(image.shape)
        (3, 60, 90)
    """
    resize = [] if short_side is None else [Resize(short_side, long_side)]
    pipeline: Transform = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(0.5), *resize, ToModelInput()])
    return pipeline


def evaluation_transform(short_side: int | None = SHORT_SIDE, long_side: int = LONG_SIDE) -> Transform:
    """Resize and normalise; nothing is random and nobody is removed.

    Args:
        short_side: short side in pixels; ``None`` keeps the size of the image.
        long_side: upper limit of the long side.

    Returns:
        A callable as :func:`training_transform` returns.

    Example:
        >>> from PIL import Image
        >>> nobody = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
        >>> image, target = evaluation_transform(60)(Image.new("RGB", (120, 80)), nobody)
        >>> tuple(image.shape)
        (3, 60, 90)
    """
    if short_side is None:
        return ToModelInput()
    pipeline: Transform = v2.Compose([v2.ToImage(), Resize(short_side, long_side), ToModelInput()])
    return pipeline


def _random_resize(short_sides: Sequence[int], long_side: int | None) -> v2.Transform:
    """One of several exact short sides; torchvision's RandomShortestSize rounds some of them one pixel down."""
    return v2.RandomChoice([Resize(side, long_side) for side in short_sides])
