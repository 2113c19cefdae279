"""From a picture to the people in it: reading, resizing, the model, and results in pixels of the original."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import torch
from torch import nn

from dsct.checkpoint import load_model
from dsct.config import DSCTConfig
from dsct.data.transforms import LONG_SIDE, SHORT_SIDE, Transform, evaluation_transform
from dsct.image_io import ImageInput, load_image
from dsct.people import People

if TYPE_CHECKING:
    from dsct import DSCT

SHIPPED_WEIGHTS = Path(__file__).with_name("weights") / "tiny_synthetic.safetensors"
SHIPPED_NOTE = (
    "The weights that come with dsct were trained on drawn scenes. They show how dsct works; "
    "on photographs their results mean nothing. Pass your own model for that."
)

logger = logging.getLogger("dsct")


@overload
def predict(
    image: list[Any] | tuple[Any, ...],
    model: DSCT | str | os.PathLike[str] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = 0.5,
    short_side: int | None = None,
    long_side: int | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 4,
) -> list[People]: ...
@overload
def predict(
    image: ImageInput,
    model: DSCT | str | os.PathLike[str] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = 0.5,
    short_side: int | None = None,
    long_side: int | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 4,
) -> People: ...
def predict(
    image: ImageInput | list[Any] | tuple[Any, ...],
    model: DSCT | str | os.PathLike[str] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = 0.5,
    short_side: int | None = None,
    long_side: int | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 4,
) -> People | list[People]:
    """Finds the people in a picture and their emotions.

    The picture is read as a person sees it (`dsct.image_io.load_image`) and resized as in evaluation. Of several
    predictions for one person the best is kept.

    Args:
        image: a path, a PIL image, an RGB uint8 array (H, W, 3) or (H, W), or a tensor (3, H, W), uint8 or in [0, 1];
            or a list of these. In a list, neighbours of equal size run together; the result of a picture does not
            depend on the others, because nothing is padded.
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct. These
            were trained on drawn scenes: it is logged once, and `People.note` says it.
        threshold: multi-label models report the classes whose probability exceeds this: one number, or one per class.
            None takes the thresholds stored with the weights, else 0.5. Multi-class models report the most probable.
        score_threshold: predictions scored lower are left out. None asks that the class probabilities of a person
            add up to at least ½, which is a score of ½/C, or keeps all where the score is a mean of logits.
        nms_iou: of two predictions that overlap by more than this, the lower score is left out. None keeps both.
        short_side: the short side is resized to this many pixels. None takes what is stored with the weights, else 800.
        long_side: the long side never exceeds this. None takes what is stored with the weights, else 1333.
        device: where the model runs; a model passed as module is moved there. None leaves it where it is.
        batch_size: how many pictures of equal size run at once.

    Returns:
        The people, most certain first; for a list of pictures, a list.

    Raises:
        TypeError: `image` or `model` is of another kind.
        ValueError: an argument is out of range.
        OSError: a picture or the weights cannot be read.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> people = dsct.predict(np.zeros((96, 128, 3), dtype=np.uint8), model, short_side=96)
        >>> people.image_size
        (128, 96)
    """
    if batch_size < 1:
        raise ValueError(f"predict: batch_size must be at least 1, got {batch_size}")
    module, note = resolve_model(model, device)
    transform = input_transform(module, short_side, long_side)
    options = report_options(module, threshold, score_threshold, nms_iou)
    images: Sequence[ImageInput] = image if isinstance(image, (list, tuple)) else [image]
    people: list[People] = []
    with evaluating(module), torch.no_grad():
        for batch in _batches(images, transform, batch_size):
            results = _run(module, batch, options)
            people += [
                to_people(item, result, module.config, note) for item, result in zip(batch, results, strict=True)
            ]
    return people if images is image else people[0]


class Prepared(NamedTuple):
    """A picture as the model gets it."""

    source: ImageInput
    size: tuple[int, int]  # width and height of the original
    pixels: torch.Tensor  # (3, H, W), resized and normalised


def _batches(images: Sequence[ImageInput], transform: Transform, batch_size: int) -> Iterator[list[Prepared]]:
    """Reads pictures one after the other and groups neighbours that have the same size after resizing."""
    prepared = (prepare(image, transform) for image in images)
    for _, same_size in groupby(prepared, key=lambda item: item.pixels.shape):
        while batch := list(islice(same_size, batch_size)):
            yield batch


def prepare(source: ImageInput, transform: Transform) -> Prepared:
    """Reads a picture and resizes it as `transform`, that of `input_transform`, says."""
    picture = load_image(source)
    pixels, _ = transform(picture, {"boxes": torch.zeros(0, 4)})
    return Prepared(source, picture.size, pixels)


def _run(model: DSCT, batch: list[Prepared], options: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """Boxes, scores, labels and probabilities of each picture of the batch."""
    import dsct

    parameter = next(model.parameters())
    images = torch.stack([item.pixels for item in batch]).to(parameter.device, parameter.dtype)
    target_sizes = torch.tensor([item.size[::-1] for item in batch], device=parameter.device)
    results: list[dict[str, torch.Tensor]] = dsct.PostProcess(model.config, **options)(model(images), target_sizes)
    return results


def to_people(item: Prepared, result: dict[str, torch.Tensor], config: DSCTConfig, note: str | None) -> People:
    """The people that `dsct.PostProcess` found in a picture."""
    labels = result["labels"].cpu()
    indices = (
        [row.nonzero().flatten().tolist() for row in labels] if config.multi_label else labels.unsqueeze(1).tolist()
    )
    return People(
        boxes=result["boxes"].cpu().numpy(),
        scores=result["scores"].cpu().numpy(),
        labels=[[config.names[index] for index in row] for row in indices],
        probabilities=result["probabilities"].cpu().numpy(),
        class_names=config.names,
        image_size=item.size,
        source=item.source,
        note=note,
    )


def resolve_model(
    model: DSCT | str | os.PathLike[str] | None, device: str | torch.device | None
) -> tuple[DSCT, str | None]:
    """The model to run and the note its results carry."""
    import dsct

    if model is None:
        return _shipped_model().to(device or "cpu"), SHIPPED_NOTE
    if isinstance(model, (str, os.PathLike)):
        return load_model(model, device or "cpu"), None
    if not isinstance(model, dsct.DSCT):
        raise TypeError(f"predict: model must be a dsct.DSCT, a path or None, got {type(model).__name__}")
    return (model if device is None else model.to(device)), None


@lru_cache(maxsize=1)
def _shipped_model() -> DSCT:
    """Loaded, and talked about, once per process."""
    model = load_model(SHIPPED_WEIGHTS)
    logger.warning(SHIPPED_NOTE)
    return model


def input_transform(model: DSCT, short_side: int | None = None, long_side: int | None = None) -> Transform:
    """Resizes and normalises a picture for `model`: to the sides asked for, else to those stored with it."""
    return evaluation_transform(*_sides(model, short_side, long_side))


def report_options(
    model: DSCT,
    threshold: float | Sequence[float] | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = 0.5,
) -> dict[str, Any]:
    """Options of `dsct.PostProcess`: those asked for, else what is stored with `model`, else the defaults."""
    return {
        "threshold": getattr(model, "thresholds", None) if threshold is None else threshold,
        "score_threshold": _least_score(model.config) if score_threshold is None else score_threshold,
        "nms_iou": nms_iou,
    }


def _sides(model: DSCT, short_side: int | None, long_side: int | None) -> tuple[int | None, int]:
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


def _least_score(config: DSCTConfig) -> float:
    """Probabilities that add up to ½ have a mean of ½/C. A mean of logits has no such natural limit."""
    return 0.5 / config.num_classes if config.score == "probability" else -math.inf


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
