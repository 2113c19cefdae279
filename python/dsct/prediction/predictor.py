"""From a picture to the people in it: reading, resizing, the model, and results in pixels of the original."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, overload

import torch

from dsct.config import DSCTConfig
from dsct.data.transforms import Transform, evaluation_transform
from dsct.image_io import ImageInput, load_image
from dsct.modules.evaluating import evaluating
from dsct.post_process import PostProcess, least_score
from dsct.prediction.model_input import ModelInput, resize_sides
from dsct.prediction.people import People
from dsct.prediction.shipped_weights import resolve_model

if TYPE_CHECKING:
    from dsct.modules import DSCT


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
    images: Sequence[ImageInput] = image if isinstance(image, (list, tuple)) else [image]
    people = list(
        predict_stream(
            images,
            model,
            threshold=threshold,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            short_side=short_side,
            long_side=long_side,
            device=device,
            batch_size=batch_size,
        )
    )
    return people if images is image else people[0]


def predict_stream(
    images: Iterable[ImageInput],
    model: DSCT | str | os.PathLike[str] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = 0.5,
    short_side: int | None = None,
    long_side: int | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 4,
    on_error: Callable[[ImageInput, Exception], None] | None = None,
) -> Iterator[People]:
    """Finds the people in any number of pictures, one result after the other, in the memory of one batch.

    The results are those of `predict`; the arguments too, but for these:

    Args:
        images: pictures as `predict` takes them, from a list or a generator. They are read when their batch is due.
        model: as in `predict`.
        threshold: as in `predict`.
        score_threshold: as in `predict`.
        nms_iou: as in `predict`.
        short_side: as in `predict`.
        long_side: as in `predict`.
        device: as in `predict`.
        batch_size: as in `predict`; so many pictures are held at once.
        on_error: called with a picture that cannot be read and the error; the picture has no result, the others go on.
            None raises the error.

    Returns:
        An iterator of the people of each picture, in order. `People.source` is the picture as it was given.

    Raises:
        TypeError: `model` is of another kind; while iterating, also a picture.
        ValueError: an argument is out of range.
        OSError: the weights cannot be read; while iterating, also a picture.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> pictures = (np.zeros((96, 96 + 32 * i, 3), dtype=np.uint8) for i in range(3))
        >>> [people.image_size for people in predict_stream(pictures, model, short_side=96)]
        [(96, 96), (128, 96), (160, 96)]
    """
    if batch_size < 1:
        raise ValueError(f"predict: batch_size must be at least 1, got {batch_size}")
    module, note = resolve_model(model, device)
    transform = evaluation_transform(*resize_sides(module, short_side, long_side))
    post_process = PostProcess(
        module.config,
        threshold=getattr(module, "thresholds", None) if threshold is None else threshold,
        score_threshold=least_score(module.config) if score_threshold is None else score_threshold,
        nms_iou=nms_iou,
    )
    prepared = _prepared(images, transform, on_error)
    # The arguments are checked in this call already; a generator function would wait for the first result.
    return (
        to_people(item, result, module.config, note)
        for batch in _batches(prepared, batch_size)
        for item, result in zip(batch, _run(module, batch, post_process), strict=True)
    )


def _prepared(
    images: Iterable[ImageInput], transform: Transform, on_error: Callable[[ImageInput, Exception], None] | None
) -> Iterator[ModelInput]:
    """Reads and resizes pictures one after the other."""
    for source in images:
        try:
            picture = load_image(source)
            pixels, _ = transform(picture, {"boxes": torch.zeros(0, 4)})
        except Exception as error:  # Pillow's decoders raise many types for damaged files
            if on_error is None:
                raise
            on_error(source, error)
        else:
            yield ModelInput(source, picture.size, pixels)


def _batches(prepared: Iterable[ModelInput], batch_size: int) -> Iterator[list[ModelInput]]:
    """Groups neighbours that have the same size after resizing."""
    for _, same_size in groupby(prepared, key=lambda item: item.pixels.shape):
        while batch := list(islice(same_size, batch_size)):
            yield batch


def _run(model: DSCT, batch: list[ModelInput], post_process: PostProcess) -> list[dict[str, torch.Tensor]]:
    """Boxes, scores, labels and probabilities of each picture of the batch."""
    parameter = next(model.parameters())
    images = torch.stack([item.pixels for item in batch]).to(parameter.device, parameter.dtype)
    target_sizes = torch.tensor([item.size[::-1] for item in batch], device=parameter.device)
    with evaluating(model), torch.no_grad():
        results: list[dict[str, torch.Tensor]] = post_process(model(images), target_sizes)
    return results


def to_people(item: ModelInput, result: dict[str, torch.Tensor], config: DSCTConfig, note: str | None) -> People:
    """One picture's row of what :class:`dsct.PostProcess` returns, with names for numbers."""
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
