"""What a model may carry beside its weights, and what of it a prediction can use."""

from __future__ import annotations

import math
import reprlib
from typing import Any

#: Plain attributes of a model, and their names in a file.
OPTIONAL_KEYS = {"preprocess": "dsct_preprocess", "thresholds": "dsct_thresholds"}

#: The largest number of pixels per side of an image; the long side is a limit only, which may be without effect.
_LARGEST = {"short_side": 2**16 - 1, "long_side": 2**31 - 1}


def require_attribute(attribute: str, value: object, num_classes: int | None, source: str) -> None:
    """Refuses an input size or thresholds that a later prediction could not use.

    Args:
        attribute: a key of `OPTIONAL_KEYS`.
        value: as JSON gives it.
        num_classes: of the model, None if it is not known.
        source: where the value is from, for the message.

    Raises:
        ValueError: ``preprocess`` is not a dictionary of the two sides, or ``thresholds`` are not one number in [0, 1]
            per class.

    Example:
        >>> require_attribute("preprocess", {"short_side": 800, "long_side": 400}, 7, "model.preprocess")
        Traceback (most recent call last):
        ...
        ValueError: model.preprocess: long_side must be greater than short_side, got 400 and 800
    """
    if attribute == "preprocess":
        _require_sides(value, source)
    else:
        _require_thresholds(value, num_classes, source)


def _require_sides(value: object, source: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{source} must be a dictionary, got {type(value).__name__}")
    if value.keys() != _LARGEST.keys():
        raise ValueError(f"{source} must have short_side and long_side and nothing else, got {_shown(value)}")
    for side, largest in _LARGEST.items():
        given, also = value[side], ", or none to keep the size" if side == "short_side" else ""
        if (type(given) is int and 1 <= given <= largest) or (also and given is None):
            continue
        raise ValueError(
            f"{source}: {side} must be a whole number of pixels from 1 to {largest}{also}, got {_shown(given)}"
        )
    short, long = value["short_side"], value["long_side"]
    if short is not None and long <= short:
        raise ValueError(f"{source}: long_side must be greater than short_side, got {long} and {short}")


def _require_thresholds(value: Any, num_classes: int | None, source: str) -> None:
    number = "" if num_classes is None else f"{num_classes} "
    if (
        not isinstance(value, list)
        or (num_classes is not None and len(value) != num_classes)
        or not all(type(each) is int or (isinstance(each, float) and math.isfinite(each)) for each in value)
    ):
        raise ValueError(f"{source} must be {number}finite numbers, one per class, got {_shown(value)}")
    for place, each in enumerate(value):
        if not 0 <= each <= 1:
            raise ValueError(f"{source} must be in [0, 1], got {_shown(each)} for class {place}")


def _shown(value: object) -> str:
    """In one line that is not long, whatever it is."""
    return reprlib.repr(value)
