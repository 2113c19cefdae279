"""From a picture to the people in it: reading, resizing, the model, and results in pixels of the original."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
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
        >>> import numpy as np
        >>> people = dsct.predict(np.zeros((96, 128, 3), dtype=np.uint8))  # doctest: +SKIP
        >>> people.to_dataframe()  # doctest: +SKIP
    """
    if batch_size < 1:
        raise ValueError(f"predict: batch_size must be at least 1, got {batch_size}")
    module, note = _resolve_model(model, device)
    transform = evaluation_transform(*_sides(module, short_side, long_side))
    find_people = _PeopleFinder(module, threshold, score_threshold, nms_iou, note)
    images = list(image) if isinstance(image, (list, tuple)) else [image]
    found: list[People] = []
    with _evaluating(module), torch.no_grad():
        for batch in _batches(images, transform, batch_size):
            found += find_people(batch)
    return found if isinstance(image, (list, tuple)) else found[0]


class _Prepared(NamedTuple):
    source: ImageInput
    size: tuple[int, int]  # width, height of the original
    pixels: torch.Tensor  # (3, H, W), resized and normalised


def _batches(images: Sequence[ImageInput], transform: Transform, batch_size: int) -> Iterator[list[_Prepared]]:
    """Reads pictures one after the other and groups neighbours that have the same size after resizing."""
    prepared = (_prepare(image, transform) for image in images)
    for _, same_size in groupby(prepared, key=lambda item: item.pixels.shape):
        while batch := list(islice(same_size, batch_size)):
            yield batch


def _prepare(source: ImageInput, transform: Transform) -> _Prepared:
    picture = load_image(source)
    pixels, _ = transform(picture, {"boxes": torch.zeros(0, 4)})
    return _Prepared(source, picture.size, pixels)


class _PeopleFinder:
    """Runs the model on pictures of one size and puts its answer into words and pixels."""

    def __init__(
        self,
        model: DSCT,
        threshold: float | Sequence[float] | None,
        score_threshold: float | None,
        nms_iou: float | None,
        note: str | None,
    ) -> None:
        import dsct

        self.model, self.cfg, self.note = model, model.cfg, note
        self.post_process = dsct.PostProcess(model.cfg)
        self.options = {
            "threshold": getattr(model, "thresholds", None) or 0.5 if threshold is None else threshold,
            "score_threshold": _least_score(model.cfg) if score_threshold is None else score_threshold,
            "nms_iou": nms_iou,
        }

    def __call__(self, batch: list[_Prepared]) -> list[People]:
        parameter = next(self.model.parameters())
        images = torch.stack([item.pixels for item in batch]).to(parameter.device, parameter.dtype)
        sizes = torch.tensor([item.size[::-1] for item in batch], device=parameter.device)
        results = self.post_process(self.model(images), sizes, **self.options)
        return [self._people(item, result) for item, result in zip(batch, results, strict=True)]

    def _people(self, item: _Prepared, result: dict[str, torch.Tensor]) -> People:
        order = torch.argsort(result["scores"], descending=True, stable=True)
        values = {name: _as_array(tensor[order]) for name, tensor in result.items()}
        width, height = item.size
        names = self.cfg.class_names
        labels = values["labels"]
        if self.cfg.multi_label:
            labels = [[names[index] for index in np.flatnonzero(row)] for row in labels]
        return People(
            boxes=values["boxes"].clip(0, [width, height, width, height]).astype(np.float32),
            scores=values["scores"],
            labels=labels,
            probabilities=values["probabilities"],
            class_names=names,
            image_size=item.size,
            source=item.source,
            note=self.note,
        )
