"""Where each decoder layer looked for each person that was found, in pixels of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput
from dsct.prediction.look import SubjectTrace
from dsct.prediction.options import Options, lists_options
from dsct.prediction.predictor import Predictor
from dsct.prediction.shipped_weights import AnyModel


@lists_options
def trace_subjects(image: ImageInput, model: AnyModel = None, **options: Unpack[Options]) -> list[SubjectTrace]:
    """Finds the people in an image as `dsct.predict` does, and where the model looked for each of them.

    Args:
        image: anything `load_image` reads.
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct.
        **options: as in `dsct.predict`.

    Returns:
        One trace per person: the people of ``dsct.predict(image, model)`` in the same order.

    Raises:
        TypeError: `image` or `model` has an unsupported type, or the decoder of `model` cannot say where it looked.
        ValueError: an argument is out of range.
        OSError: the image or the weights cannot be read.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> subjects = trace_subjects(np.zeros((96, 128, 3), dtype=np.uint8), model, score_threshold=0.0, short_side=96)
        >>> subjects[0].layers[-1].sampling_points.shape  # 4 heads, 4 levels, 4 points
        (64, 2)
    """
    return Predictor(model, **options).look(image).subjects


def choose_people(subjects: list[SubjectTrace], people: Sequence[int] | None, op: str) -> dict[int, SubjectTrace]:
    """The subjects numbered `people`, from 0, by their number; None is all.

    Raises:
        TypeError: one is no whole number.
        ValueError: there is no such person, or `people` is empty; the message begins with `op`.
    """
    if people is not None and len(people) == 0:
        raise ValueError(f"{op}: people must be None, for all, or name at least one, got none")
    for index in people or ():
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"{op}: people must be whole numbers, got {index!r}")
        if not 0 <= index < len(subjects):
            said = f" (person {index + 1} in figures)" if index >= 0 else ""
            raise ValueError(f"{op}: people must be numbers from 0 below {len(subjects)}, got {index}{said}")
    return {index: subjects[index] for index in (range(len(subjects)) if people is None else people)}
