"""The options of a prediction: their names, types, meanings and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict, TypeVar, cast, get_type_hints

import torch

from dsct.config import DSCTConfig
from dsct.runtime import usable_device

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The options besides the model; `dsct.Predictor` and everything that predicts takes them.

    Attributes:
        threshold: multi-label models report the classes whose probability exceeds this: one number, or one per class.
            None uses the thresholds stored with the weights, else 0.5. Multi-class models report the most probable and
            take none.
        score_threshold: predictions with a lower score are dropped. None requires the class probabilities of a person
            to sum to at least ½, which is a score of ½/C, or keeps all if the score is a mean of logits.
        nms_iou: of two predictions that overlap by more than this, the one with the lower score is dropped. None keeps
            both; the default is 0.5.
        short_side: the short side is resized to this many pixels. None uses what is stored with the weights, else 800.
        long_side: the long side never exceeds this. None uses what is stored with the weights, else 1333.
        device: where the model runs; a model passed as a module is moved there. None leaves it where it is.
        batch_size: number of images of equal size that run at once; the default is 4.

    Example:
        >>> import dsct, numpy as np
        >>> options: Options = {"short_side": 96, "score_threshold": 0.0}
        >>> len(dsct.predict(np.zeros((96, 128, 3), dtype=np.uint8), dsct.DSCT(dsct.DSCTConfig.tiny()), **options)) > 0
        True
    """

    threshold: float | Sequence[float] | None
    score_threshold: float | None
    nms_iou: float | None
    short_side: int | None
    long_side: int | None
    device: str | torch.device | None
    batch_size: int


DEFAULTS: Options = {
    "threshold": None,
    "score_threshold": None,
    "nms_iou": 0.5,
    "short_side": None,
    "long_side": None,
    "device": None,
    "batch_size": 4,
}

_WHOLE_NUMBERS = {"short_side", "batch_size"}
_NUMBERS = ("score_threshold", "nms_iou", "short_side", "long_side", "batch_size")


def completed(options: Options) -> Options:
    """The options given, and the defaults of the others.

    Raises:
        TypeError: there is no such option, or one of another type.
        ValueError: an option is out of range, or `device` is none that computes; the model decides about the others.

    Example:
        >>> completed({"batch_size": 8})["nms_iou"]
        0.5
    """
    for name in options.keys() - DEFAULTS.keys():
        raise TypeError(f"predict: options must be among {', '.join(DEFAULTS)}, got {name}")
    complete: Options = {**DEFAULTS, **options}
    for name in _NUMBERS:
        value = complete.get(name)
        number = "__index__" if name in _WHOLE_NUMBERS else "__float__"
        if not (hasattr(value, number) or (value is None and name != "batch_size")):
            wanted = "a whole number" if name in _WHOLE_NUMBERS else "a number"
            raise TypeError(f"predict: {name} must be {wanted}, got {value!r}")
    if complete["batch_size"] < 1:
        raise ValueError(f"predict: batch_size must be at least 1, got {complete['batch_size']}")
    if complete["nms_iou"] is not None and not 0 <= complete["nms_iou"] <= 1:
        raise ValueError(f"predict: nms_iou must be in [0, 1], got {complete['nms_iou']}")
    _require_numbers(complete["threshold"])
    if complete["device"] is not None:
        complete["device"] = usable_device(complete["device"], "predict: device")
    return complete


def threshold_for(config: DSCTConfig, threshold: T) -> T:
    """The threshold, if the model uses one.

    Raises:
        ValueError: it is given and the model reports one class per person.

    Example:
        >>> threshold_for(DSCTConfig.tiny(multi_label=True), 0.3)
        0.3
    """
    if threshold is not None and not config.multi_label:
        raise ValueError(
            "predict: threshold is for models with several emotions per person; this one reports the most probable. "
            "score_threshold leaves out uncertain people"
        )
    return threshold


def _require_numbers(threshold: object) -> None:
    """Raises a TypeError for anything but None, a number or several."""
    several = isinstance(threshold, Iterable) and not isinstance(threshold, str | bytes)
    values = list(threshold) if several else [threshold]  # type: ignore[call-overload]
    if threshold is not None and not all(hasattr(value, "__float__") for value in values):
        raise TypeError(f"predict: threshold must be a number, or one per class, got {threshold!r}")


def lists_options(function: Function) -> Function:
    """Makes `inspect.signature`, and with it `help`, list every option in place of ``**options``.

    Example:
        >>> @lists_options
        ... def look(image, **options): ...
        >>> list(inspect.signature(look).parameters)[:3]
        ['image', 'threshold', 'score_threshold']
    """
    hints = get_type_hints(Options)
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in DEFAULTS.items()
    ]
    cast(Any, function).__signature__ = signature.replace(parameters=[*own, *options])
    return function
