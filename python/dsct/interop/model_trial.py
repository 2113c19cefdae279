"""Runs a whole model on a trial: its outputs, to compare them, and its seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from dsct.interop.difference import says_nothing
from dsct.interop.views import device_of, in_float32, is_half, view_with, with_copied_inputs, with_inputs_in_float32
from dsct.modules.evaluating import evaluation_view

Run: TypeAlias = Callable[[nn.Module], Any]
Trial: TypeAlias = Mapping[str, Any] | Run | Literal["images"] | None
"""What to compare a model on: the arguments of its call, a function that calls it, images, or nothing."""


def runner(model: nn.Module, pixel_values: Tensor | None, trial: Trial) -> Run | None:
    """How to call a view of the model; None without a trial.

    Raises:
        TypeError: `model` is not a module, `pixel_values` no tensor, or `trial` is nothing that can be tried, or is
            given beside `pixel_values`.

    Example:
        >>> run = runner(nn.ReLU(), None, {"input": -torch.ones(1)})
        >>> run(nn.ReLU())
        tensor([0.])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate: model must be a torch.nn.Module, got {type(model).__name__}")
    if trial is None or trial != "images":
        if pixel_values is not None:
            raise TypeError("accelerate: give pixel_values or trial, not both")
        if isinstance(trial, Mapping):
            return lambda view: view(**trial)
        if trial is not None and not callable(trial):
            raise TypeError(f"accelerate: trial must be a dictionary, a function or None, got {type(trial).__name__}")
        return trial
    if pixel_values is None:
        random = torch.Generator().manual_seed(0)
        pixel_values = torch.randn(1, 3, *_image_size(getattr(model, "config", None)), generator=random)
    if not isinstance(pixel_values, Tensor):
        raise TypeError(f"accelerate: pixel_values must be a torch.Tensor or None, got {type(pixel_values).__name__}")
    images = pixel_values.to(device_of(model))
    return lambda view: view(images.to(_dtype(view)))


def outputs_of(model: nn.Module, run: Run) -> tuple[list[Tensor], float]:
    """Floating-point outputs, and the seconds of the faster of two passes.

    Outputs of a model in half precision come from a third pass, in float32.

    Example:
        >>> outputs, seconds = outputs_of(nn.Linear(2, 1).bfloat16(), lambda view: view(torch.ones(1, 2).bfloat16()))
        >>> outputs[0].dtype
        torch.float32
    """
    outputs, seconds = _timed(evaluation_view(model), run)
    if in_half_precision(model):
        outputs, _ = _timed(with_inputs_in_float32(view_with(model, in_float32)), run, repeats=1)
    return outputs, seconds


def tried(model: nn.Module, run: Run) -> tuple[list[Tensor], float]:
    """:func:`outputs_of` a model that computes by itself, with a word on trials that say nothing about it.

    Raises:
        ValueError: the model does not run, or its outputs are no numbers, or one of them has NaN or no finite number.

    Example:
        >>> outputs, seconds = tried(nn.ReLU(), lambda view: view(torch.ones(1)))
        >>> outputs
        [tensor([1.])]
    """
    name = type(model).__name__
    try:
        outputs, seconds = outputs_of(model, run)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{name} must run on the trial: give its inputs as trial={{...}}, or trial=None to exchange without "
            f"comparing its outputs; it said: {reason}"
        ) from error
    if not any(value.numel() for value in outputs):
        raise ValueError(f"outputs of {name} must contain tensors of floating-point numbers, to compare them")
    if any(map(says_nothing, outputs)):
        dtype = torch.float32 if in_half_precision(model) else _dtype(model)
        raise ValueError(
            f"outputs of {name} are not finite in {dtype} by themselves, so there is nothing to compare with: "
            "give other inputs (trial={...}), a function that returns the outputs to compare, or none (trial=None)"
        )
    return outputs, seconds


def in_half_precision(model: nn.Module) -> bool:
    """Whether a parameter or buffer has floating-point numbers of less than 32 bits.

    Example:
        >>> in_half_precision(nn.Linear(1, 1)), in_half_precision(nn.Linear(1, 1).half())
        (False, True)
    """
    return any(map(is_half, (*model.parameters(), *model.buffers())))


def _dtype(view: nn.Module) -> torch.dtype:
    return next((each.dtype for each in view.parameters() if each.is_floating_point()), torch.float32)


def _image_size(config: Any) -> tuple[int, int]:
    """(height, width) that the model was made for, where it was made for one."""
    for owner in (config, getattr(config, "backbone_config", None)):
        size = getattr(owner, "image_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, list | tuple) and len(size) == 2:
            return int(size[0]), int(size[1])
    return 480, 640


@torch.no_grad()
def _timed(view: nn.Module, run: Run, repeats: int = 2) -> tuple[list[Tensor], float]:
    """Floating-point outputs of the last pass, and the seconds of the fastest."""
    seconds = []
    device = device_of(view)
    with_copied_inputs(view)
    for _ in range(repeats):
        began = time.perf_counter()
        outputs = run(view)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return [value for value in _tensors_in(outputs) if value.is_floating_point()], min(seconds)


def _tensors_in(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping | list | tuple):
        for value in outputs.values() if isinstance(outputs, Mapping) else outputs:
            yield from _tensors_in(value)
