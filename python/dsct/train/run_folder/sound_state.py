"""Whether the state of a run is one that a trainer wrote: it may have been edited, or written by another program."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dsct.train.processes.parallel_model import unwrap
from dsct.train.progress import Progress

if TYPE_CHECKING:
    from dsct.train.step import OptimizerStep

_MOST = 2**53  # a count beyond has never been reached
#: Fields of the progress that older states lack, and what they had in their place.
_LATER = {"people": 1, "best_recall": math.inf}


def require_sound_state(state: Mapping[str, Any], step: OptimizerStep, path: Path) -> Progress:
    """Compares a state with what it shall be loaded into; nothing is changed.

    Args:
        state: the content of ``last.pt``.
        step: what it shall be loaded into.
        path: the file, for messages.

    Returns:
        The progress in it.

    Raises:
        ValueError: something is missing, unknown, or of another type or shape; the message names file and key.
    """
    now: dict[str, Any] = {"scheduler": step.scheduler.state_dict(), "scaler": step.scaler.state_dict()}
    needed = ("model", "optimizer", "random", "progress", *now)
    if missing := [name for name in needed if name not in state]:
        raise ValueError(f"{path}: {missing[0]} is missing: it is not, or no longer, what a training wrote")
    for name, like in now.items():
        _require_like(state[name], like, f"{path}: {name}")
    _require_weights(state["model"], step.model, f"{path}: model")
    if step.average is not None:
        _require_weights(state.get("average"), step.average.module, f"{path}: average")
        _require_like(state.get("averaged_steps"), 0, f"{path}: averaged_steps")
    _require_moments(state["optimizer"], step, state["scheduler"]["last_epoch"] > 0, f"{path}: optimizer")
    _require_random(state["random"], f"{path}: random")
    return _sound_progress(state["progress"], f"{path}: progress")


def _require_like(value: Any, like: Any, where: str) -> None:
    """The same keys and lengths, and values of the same types; where there was nothing yet, anything plain."""
    if isinstance(like, Mapping):
        _require_keys(value, like, where)
        for name, one in like.items():
            _require_like(value[name], one, f"{where}.{name}")
    elif isinstance(like, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(like):
            raise ValueError(f"{where} must be a list of {len(like)}, got {_text(value)}")
        for number, one in enumerate(like):
            _require_like(value[number], one, f"{where}.{number}")
    elif isinstance(like, bool):
        _require(isinstance(value, bool), where, "true or false", value)
    elif isinstance(like, int):
        _require(type(value) is int and 0 <= value <= _MOST, where, "a number of steps", value)
    elif isinstance(like, float):
        _require(type(value) in (int, float) and abs(value) <= _MOST, where, "a number", value)


def _require(is_sound: bool, where: str, what: str, value: Any) -> None:
    if not is_sound:
        raise ValueError(f"{where} must be {what}, got {_text(value)}")


def _require_keys(value: Any, like: Mapping[Any, Any], where: str) -> None:
    _require(isinstance(value, Mapping), where, "a dictionary", value)
    if missing := [name for name in like if name not in value]:
        raise ValueError(f"{where}.{missing[0]} is missing")
    if unknown := [name for name in value if name not in like]:
        raise ValueError(f"{where} has an unknown key {_text(unknown[0])}")


def _require_weights(value: Any, model: torch.nn.Module, where: str) -> None:
    like = unwrap(model).state_dict()
    _require_keys(value, like, where)
    for name, tensor in like.items():
        _require_tensor(value[name], tensor, f"{where}.{name}")


def _require_tensor(value: Any, like: torch.Tensor, where: str) -> None:
    kind = f"{like.dtype} of shape {tuple(like.shape)}"
    _require(isinstance(value, torch.Tensor), where, f"a tensor, {kind}", value)
    if value.shape != like.shape or value.dtype != like.dtype:
        raise ValueError(f"{where} must be {kind}, got {value.dtype} of shape {tuple(value.shape)}")


def _require_moments(value: Any, step: OptimizerStep, has_stepped: bool, where: str) -> None:
    now = step.optimizer.state_dict()
    _require_keys(value, now, where)
    _require_like(value["param_groups"], now["param_groups"], f"{where}.param_groups")
    parameters = [parameter for group in step.optimizer.param_groups for parameter in group["params"]]
    moments = value["state"]
    _require(isinstance(moments, Mapping), f"{where}.state", "a dictionary", moments)
    if has_stepped and not moments:
        raise ValueError(f"{where}.state is empty, although steps were done: the moments of the weights are gone")
    for number, of_one in moments.items():
        place = f"{where}.state.{_text(number)}"
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"{place} is of no parameter: there are {len(parameters)}")
        _require_keys(of_one, dict.fromkeys(("step", "exp_avg", "exp_avg_sq")), place)
        _require_tensor(of_one["step"], torch.zeros(()), f"{place}.step")
        for name in ("exp_avg", "exp_avg_sq"):
            _require_tensor(of_one[name], parameters[number], f"{place}.{name}")


def _require_random(value: Any, where: str) -> None:
    """Sets generators of its own to the states."""
    _require(isinstance(value, list) and bool(value), where, "a list with an entry per process", value)
    for number, one in enumerate(value):
        place = f"{where}.{number}"
        _require_keys(one, dict.fromkeys(("python", "numpy", "torch", "cuda")), place)
        for name, check in (("python", _set_python), ("numpy", _set_numpy), ("torch", _set_torch), ("cuda", _list)):
            try:
                check(one[name])
            except Exception as error:  # whatever the generators say to it
                raise ValueError(f"{place}.{name} is no state of a generator: {_line(error)}") from error


def _set_python(state: Any) -> None:
    version, internal, gauss_next = state
    random.Random().setstate((version, tuple(internal), gauss_next))


def _set_numpy(state: Any) -> None:
    name, keys, position, has_gauss, gauss = state
    np.random.RandomState().set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))


def _set_torch(state: Any) -> None:
    torch.Generator().set_state(state)


def _list(states: Any) -> None:
    if not isinstance(states, list) or not all(getattr(one, "dtype", None) == torch.uint8 for one in states):
        raise TypeError("it must be a list of tensors of bytes")


def _sound_progress(value: Any, where: str) -> Progress:
    _require(isinstance(value, Mapping), where, "a dictionary", value)
    value = {**_LATER, **value}
    _require_keys(value, dataclasses.asdict(Progress()), where)
    for name in ("epoch", "position", "step", "images", "people"):
        _require_like(value[name], 0, f"{where}.{name}")
    for name in ("best", "best_recall", "seconds"):
        is_number = type(value[name]) in (int, float) or (name == "best" and value[name] is None)
        _require(is_number, f"{where}.{name}", "a number", value[name])
    best_epoch = value["best_epoch"]
    is_epoch = best_epoch is None or (type(best_epoch) is int and 0 < best_epoch <= value["epoch"] + 1)
    _require(is_epoch, f"{where}.best_epoch", "an epoch that was done, or None", best_epoch)
    sums = value["sums"]
    are_sums = isinstance(sums, Mapping) and all(
        isinstance(name, str) and type(number) in (int, float) for name, number in sums.items()
    )
    _require(are_sums, f"{where}.sums", "numbers by name", sums)
    if value["position"]:
        for name, is_there in (
            ("sums", "loss" in sums),
            ("images", value["images"] > 0),
            ("seconds", value["seconds"] > 0),
        ):
            _require(is_there, f"{where}.{name}", f"of {value['position']} steps of the epoch", value[name])
    return Progress(**value)


def _line(error: Exception) -> str:
    return _text(" ".join(str(error).split()) or type(error).__name__).strip("'\"")


def _text(value: Any) -> str:
    """Of what may be large."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, int) and abs(value) > _MOST:
        return "a number that is too large"
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
