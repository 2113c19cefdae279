"""From an image to the people in it: reading, resizing, the model, and results in pixels of the original."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import RLock
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput, load_image
from dsct.data.transforms import evaluation_transform
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view
from dsct.post_process import PostProcess, least_score
from dsct.prediction import video
from dsct.prediction.batches import batches
from dsct.prediction.look import Look, require_trace, subject_traces
from dsct.prediction.model_input import ModelInput, prepare, read_each, resize_sides
from dsct.prediction.options import Options, completed, lists_options, threshold_for
from dsct.prediction.people import People, people_of
from dsct.prediction.shipped_weights import AnyModel, resolve_model

T = TypeVar("T")

#: One for every model, whichever predictors run it: predictors can be pickled, locks cannot.
_LOCKS: WeakKeyDictionary[DSCT, RLock] = WeakKeyDictionary()
# A thread that held one during a fork is not there to release it in the child.
os.register_at_fork(after_in_child=_LOCKS.clear)


class Predictor:
    """A model ready to find people: loaded once, with its options checked once.

    Several threads may share a predictor or its model: they read images at the same time, and the model runs for one
    after the other. Its mode is never touched, so another thread may train it meanwhile; what is predicted then is of
    weights in between two steps, or in the middle of one.

    Args:
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct. These
            were trained on synthetic scenes: it is logged once, and `People.note` says it.
        **options: those of `dsct.prediction.options.Options`, such as `threshold` or `device`.

    Attributes:
        model: the model that runs.
        note: what the reader of its results must know about the weights, or None.

    Raises:
        TypeError: `model` has an unsupported type, or there is no such option.
        ValueError: an option is out of range.
        OSError: the weights cannot be read.

    Example:
        >>> import dsct, numpy as np
        >>> predictor = Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()), short_side=96)
        >>> predictor(np.zeros((96, 128, 3), dtype=np.uint8)).image_size
        (128, 96)
    """

    @lists_options
    def __init__(self, model: AnyModel = None, **options: Unpack[Options]) -> None:
        given = completed(options)
        self.model, self.note = resolve_model(model, given["device"])
        threshold, least = threshold_for(self.model.config, given["threshold"]), given["score_threshold"]
        self._post_process = PostProcess(
            self.model.config,
            threshold=getattr(self.model, "thresholds", None) if threshold is None else threshold,
            score_threshold=least_score(self.model.config) if least is None else least,
            nms_iou=given["nms_iou"],
        )
        self._transform = evaluation_transform(*resize_sides(self.model, given["short_side"], given["long_side"]))
        self._batch_size = given["batch_size"]

    def __call__(self, image: ImageInput) -> People:
        """Finds the people in an image.

        Args:
            image: a path, a PIL image, an RGB uint8 array (H, W, 3) or (H, W), or a tensor (3, H, W), uint8 or in
                [0, 1]; upright and opaque, see `dsct.data.image_io.load_image`.

        Returns:
            The people, highest score first.

        Raises:
            TypeError: `image` has an unsupported type.
            ValueError: the image has a wrong shape or is too narrow.
            OSError: the image cannot be read.
        """
        return next(self.stream([image]))

    def stream(
        self, images: Iterable[ImageInput], *, on_error: Callable[[ImageInput, Exception], None] | None = None
    ) -> Iterator[People]:
        """Finds the people in any number of images; only one batch is in memory.

        Neighbours of equal size run together. The result of an image does not depend on the others, because nothing is
        padded.

        Args:
            images: from a list or a generator. Each batch is read when it is needed.
            on_error: called with an image that cannot be read and the error; that image has no result, the others
                are continued. None raises the error.

        Returns:
            An iterator of the people of each image, in order. `People.source` is the image as it was given.

        Raises:
            TypeError: while iterating, `images` is one image, or an image has an unsupported type.
            ValueError: while iterating, an image has a wrong shape or is too narrow.
            OSError: while iterating, an image cannot be read; the people of all images before it come first.
        """
        if isinstance(images, str) or (isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] == 3):
            raise TypeError("stream: images must be several images, got one; call the predictor with it instead")
        read = read_each(images, self._transform, on_error)
        for batch in batches(read, self._batch_size, key=lambda one: one.pixels.shape):
            yield from self._people(batch, self._run(lambda model, pixels: model(pixels), batch))

    def frames(
        self, path: str | os.PathLike[str], *, every: int = 1, start: float | None = None, stop: float | None = None
    ) -> Iterator[tuple[float, People]]:
        """Finds the people in the frames of a video of any length; only one batch is in memory.

        Frames are independent: person 1 of one frame need not be person 1 of the next.

        Args:
            path: the video file.
            every: as in `dsct.video.frames`.
            start: as in `dsct.video.frames`.
            stop: as in `dsct.video.frames`.

        Returns:
            An iterator of (time in seconds, people). `People.source` is the frame.

        Raises:
            ImportError: PyAV is not installed.
            ValueError: `every`, `start` or `stop` is out of range.
            OSError: while iterating, as in `dsct.video.frames`, after the people of all frames that could be read.
        """
        # The arguments are checked in this call already; a generator function would wait for the first result.
        return self._timed(video.frames(path, every=every, start=start, stop=stop))

    def look(self, image: ImageInput) -> Look:
        """Finds the people in an image, and says where the model looked for each of them.

        Args:
            image: as in a call.

        Returns:
            The image, its people, and what each decoder layer sampled for each.

        Raises:
            TypeError: `image` has an unsupported type, or the decoder of the model cannot say where it looked.
            ValueError: the image has a wrong shape or is too narrow.
            OSError: the image cannot be read.
        """
        require_trace(self.model)
        loaded = load_image(image)
        batch = [prepare(image, loaded, self._transform)]
        output, trace = self._run(lambda model, pixels: model(pixels, return_trace=True), batch)
        (people,) = self._people(batch, output)
        return Look(loaded, people, subject_traces(people, trace, self.model.config.num_context_queries))

    def feature_maps(self, image: ImageInput) -> tuple[Image.Image, list[Tensor]]:
        """The image, upright, and its feature maps from the backbone.

        Args:
            image: as in a call.

        Returns:
            The image in RGB, and the maps, finest first, each (C, h, w).

        Raises:
            TypeError: `image` has an unsupported type.
            ValueError: the image has a wrong shape or is too narrow.
            OSError: the image cannot be read.
        """
        loaded = load_image(image)
        batch = [prepare(image, loaded, self._transform)]
        maps = self._run(lambda model, pixels: model.backbone[0](pixels), batch)
        return loaded, [features[0] for features in maps]

    def _timed(self, frames: Iterable[tuple[float, Image.Image]]) -> Iterator[tuple[float, People]]:
        for batch in batches(frames, self._batch_size):
            yield from zip((time for time, _ in batch), self.stream(frame for _, frame in batch), strict=True)

    def _run(self, call: Callable[[DSCT, Tensor], T], batch: Sequence[ModelInput]) -> T:
        """The result of `call` for the model, in evaluation mode, and the pixels of a batch."""
        parameter = next(self.model.parameters())
        pixels = torch.stack([one.pixels for one in batch]).to(parameter.device, parameter.dtype)
        # One after the other: a user's own backbone may keep something in a list, and memory does not multiply.
        with _LOCKS.setdefault(self.model, RLock()), torch.no_grad():
            return call(evaluation_view(self.model), pixels)

    def _people(self, batch: Sequence[ModelInput], output: dict[str, Any]) -> list[People]:
        sizes = torch.tensor([one.size[::-1] for one in batch], device=output["pred_boxes"].device)
        results = self._post_process(output, sizes)
        return [
            people_of(result, self.model.config, one.source, one.size, self.note)
            for one, result in zip(batch, results, strict=True)
        ]


@overload
def predict(image: list[Any] | tuple[Any, ...], model: AnyModel = None, **options: Unpack[Options]) -> list[People]: ...
@overload
def predict(image: ImageInput, model: AnyModel = None, **options: Unpack[Options]) -> People: ...
@lists_options
def predict(
    image: ImageInput | list[Any] | tuple[Any, ...], model: AnyModel = None, **options: Unpack[Options]
) -> People | list[People]:
    """Finds the people in an image and their emotions.

    The image is read upright and opaque (`dsct.data.image_io.load_image`) and resized as in evaluation. Of several
    predictions for one person the best is kept. To predict more than once, keep a `dsct.Predictor`.

    Args:
        image: as `dsct.Predictor` takes it, or a list of images.
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct.
        **options: those of `dsct.prediction.options.Options`, such as `threshold` or `device`.

    Returns:
        The people, highest score first; for a list of images, a list.

    Raises:
        TypeError: `image` or `model` has an unsupported type, or there is no such option.
        ValueError: an argument is out of range.
        OSError: an image or the weights cannot be read.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> people = dsct.predict(np.zeros((96, 128, 3), dtype=np.uint8), model, short_side=96)
        >>> people.image_size
        (128, 96)
    """
    predictor = Predictor(model, **options)
    return list(predictor.stream(image)) if isinstance(image, (list, tuple)) else predictor(image)


@lists_options
def predict_stream(
    images: Iterable[ImageInput],
    model: AnyModel = None,
    *,
    on_error: Callable[[ImageInput, Exception], None] | None = None,
    **options: Unpack[Options],
) -> Iterator[People]:
    """Finds the people in any number of images: `Predictor.stream` in one call.

    Args:
        images: from a list or a generator. Each batch is read when it is needed.
        model: as in `predict`.
        on_error: as in `Predictor.stream`.
        **options: as in `predict`.

    Returns:
        An iterator of the people of each image, in order. `People.source` is the image as it was given.

    Raises:
        TypeError: `model` has an unsupported type, or there is no such option; while iterating, an image has one.
        ValueError: an argument is out of range.
        OSError: the weights cannot be read; while iterating, as in `Predictor.stream`.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> images = (np.zeros((96, 96 + 32 * i, 3), dtype=np.uint8) for i in range(3))
        >>> [people.image_size for people in predict_stream(images, model, short_side=96)]
        [(96, 96), (128, 96), (160, 96)]
    """
    return Predictor(model, **options).stream(images, on_error=on_error)


@lists_options
def predict_frames(
    path: str | os.PathLike[str],
    model: AnyModel = None,
    *,
    every: int = 1,
    start: float | None = None,
    stop: float | None = None,
    **options: Unpack[Options],
) -> Iterator[tuple[float, People]]:
    """Finds the people in the frames of a video: `Predictor.frames` in one call.

    Args:
        path: as in `dsct.video.frames`.
        model: as in `predict`.
        every: as in `dsct.video.frames`.
        start: as in `dsct.video.frames`.
        stop: as in `dsct.video.frames`.
        **options: as in `predict`.

    Returns:
        An iterator of (time in seconds, people). `People.source` is the frame.

    Raises:
        ImportError: PyAV is not installed.
        TypeError: `model` has an unsupported type, or there is no such option.
        ValueError: an argument is out of range.
        OSError: the weights cannot be read; while iterating, as in `Predictor.frames`.

    Example:
        >>> import dsct, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "grey.mp4"
        >>> with video.VideoWriter(file) as writer:
        ...     for number in range(6):
        ...         writer.write(number / 10, Image.new("RGB", (128, 96), "grey"))
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> for time, people in predict_frames(file, model, every=3, short_side=96):
        ...     print(time, people.image_size)
        0.0 (128, 96)
        0.3 (128, 96)
    """
    return Predictor(model, **options).frames(path, every=every, start=start, stop=stop)
