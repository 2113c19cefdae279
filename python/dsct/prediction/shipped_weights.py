"""The small weights that come with the package, and the model of a call."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeAlias

import torch

from dsct.checkpoint import load_model
from dsct.modules import DSCT

AnyModel: TypeAlias = DSCT | str | os.PathLike[str] | None
"""A model, the path of a native safetensors file, or None for the small weights that come with dsct."""

SHIPPED_WEIGHTS = Path(__file__).parents[1] / "weights" / "tiny_synthetic.safetensors"
SHIPPED_NOTE = (
    "The weights that come with dsct were trained on synthetic scenes. They show how dsct works; "
    "on photographs their results mean nothing. Pass your own model for that."
)

logger = logging.getLogger("dsct")

_SHIPPED: dict[str, DSCT] = {}


def resolve_model(model: AnyModel, device: str | torch.device | None) -> tuple[DSCT, str | None]:
    """The model to run, and the note of its results."""
    if model is None:
        return _shipped_model(str(device or "cpu")), SHIPPED_NOTE
    if isinstance(model, (str, os.PathLike)):
        return load_model(model, device or "cpu"), None
    if not isinstance(model, DSCT):
        raise TypeError(f"predict: model must be a dsct.DSCT, a path or None, got {type(model).__name__}")
    return (model if device is None else model.to(device)), None


def _shipped_model(device: str) -> DSCT:
    """Kept, and logged, once per device: a model that moved would leave a predictor without its device."""
    if device not in _SHIPPED:
        loaded = load_model(SHIPPED_WEIGHTS, device)
        # Of threads that loaded at the same time, one is the first.
        if _SHIPPED.setdefault(device, loaded) is loaded:
            logger.warning(SHIPPED_NOTE)
    return _SHIPPED[device]
