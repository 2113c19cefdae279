"""Hugging Face's Deformable DETR: faster as it is, or as the start of a DSCT."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from dsct.interop.attention import accelerate_attention, exchanged_modules, restore_attention
from dsct.interop.deformable_detr import convert as convert_detector
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view

Run: TypeAlias = Callable[[nn.Module], Any]
Trial: TypeAlias = Mapping[str, Any] | Run | Literal["images"] | None
"""What to compare a model on: the arguments of its call, a function that calls it, images, or nothing."""


@dataclass(frozen=True)
class Acceleration:
    """The result of :func:`accelerate`.

    Attributes:
        exchanged: name in the model -> kind of attention, for every module whose computation was exchanged.
        difference: largest difference of an output before and after, relative to its largest value.
        seconds_before: seconds of a forward pass on the images.
        seconds_after: the same with the package's operator.
        note: what else is to be known about the comparison.

    Example:
        >>> print(Acceleration({"encoder.attn": "Hugging Face"}, 1e-6, seconds_before=0.6, seconds_after=0.2))
        1 attention modules replaced; outputs differ by 1.0e-06; 0.6 s -> 0.2 s, 3.00 times as fast
    """

    exchanged: dict[str, str]
    difference: float
    seconds_before: float
    seconds_after: float
    note: str = ""

    def __str__(self) -> str:
        if math.isnan(self.difference):
            return f"{len(self.exchanged)} attention modules replaced; nothing was compared"
        note = f"; {self.note}" if self.note else ""
        return (f"{len(self.exchanged)} attention modules replaced; outputs differ by {self.difference:.1e}; "
                f"{self.seconds_before:.3g} s -> {self.seconds_after:.3g} s, "
                f"{self.seconds_before / self.seconds_after:.2f} times as fast{note}")  # fmt: skip


def accelerate(
    model: nn.Module, pixel_values: Tensor | None = None, *, trial: Trial = "images", verbose: bool = True
) -> Acceleration:
    """Exchanges the attention in a Hugging Face model for the package's operator, in place, and shows what it changes.

    Args:
        model: any model with Hugging Face's ``MultiScaleDeformableAttention``; it keeps its mode and parameters.
        pixel_values: (B, 3, H, W) images to compare and time on; by default one random image, of the size that the
            model's configuration names, or of 480 x 640.
        trial: what to compare and time on, for a model that needs more than images: its arguments by name, or a
            function of the model that calls it and returns the outputs. None exchanges without comparing: what a module
            of another meaning would compute is then not noticed.
        verbose: print the result.

    Returns:
        The result; without a trial its numbers are NaN.

    Raises:
        TypeError: `trial` is none of these, or is given beside `pixel_values`.
        ValueError: the model contains no such attention, does not run on the trial, gives outputs that are not finite
            by itself, or outputs that the exchange changes by more than 1e-3. After any error the model is as it was.

    Example:
        ``accelerate(DeformableDetrForObjectDetection.from_pretrained("SenseTime/deformable-detr"))``
    """
    run = _runner(model, pixel_values, trial)
    before = exchanged_modules(model)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_available() else ()):
            result = _compared(model, run)
    except BaseException:
        restore_attention(model, keep=before)
        raise
    if verbose:
        print(result)
    return result


def _compared(model: nn.Module, run: Run | None) -> Acceleration:
    if run is None:
        return Acceleration(_exchanged(model), math.nan, math.nan, math.nan)
    expected, before = _tried(model, run)
    dtype = next(model.parameters()).dtype
    precise = dtype in (torch.float32, torch.float64)
    if any(value.isnan().any() or (not precise and value.isinf().any()) for value in expected):
        if not precise:
            return _compared_in_float32(model, run, dtype)
        raise ValueError(
            f"outputs of {type(model).__name__} are not finite in {dtype} by themselves, so there is nothing to "
            "compare with: give other inputs (trial={...}), or none (trial=None)"
        )
    exchanged = _exchanged(model)
    found, after = _timed(model, run)
    difference = max(_difference(one, other) for one, other in zip(found, expected, strict=True))
    # Half precision rounds at 1e-2; a larger difference is not rounding.
    if not difference < (1e-3 if precise else 5e-2):
        raise ValueError(
            f"model computes something other than deformable attention: outputs changed by {difference:.1e}"
        )
    return Acceleration(exchanged, difference, before, after)


def _compared_in_float32(model: nn.Module, run: Run, dtype: torch.dtype) -> Acceleration:
    """Half precision may overflow in the peer's computation alone; then a copy says what the exchange does."""
    name = str(dtype).removeprefix("torch.")
    result = _compared(copy.deepcopy(model).float(), run)
    note = f"compared in float32, as its own outputs in {name} are not finite"
    return replace(result, exchanged=_exchanged(model), note=note)


def _tried(model: nn.Module, run: Run) -> tuple[list[Tensor], float]:
    """:func:`_timed`, with a word on trials for models that want other inputs."""
    try:
        outputs, seconds = _timed(model, run)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{type(model).__name__} must run on the trial: give its inputs as trial={{...}}, or trial=None to "
            f"exchange without comparing; it said: {reason}"
        ) from error
    if not any(value.numel() for value in outputs):
        raise ValueError(
            f"outputs of {type(model).__name__} must contain tensors of floating-point numbers, to compare them"
        )
    return outputs, seconds


def _exchanged(model: nn.Module) -> dict[str, str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exchanged = accelerate_attention(model)
    reasons = [str(each.message) for each in caught]
    if not exchanged:
        reason = f"; nothing exchanged: {'; '.join(reasons)}" if reasons else ""
        raise ValueError(
            f"model must contain MultiScaleDeformableAttention, found none in {type(model).__name__}{reason}"
        )
    for each in reasons:
        warnings.warn(each, stacklevel=4)
    return exchanged


def _runner(model: nn.Module, pixel_values: Tensor | None, trial: Trial) -> Run | None:
    """How to call a view of the model."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate: model must be a torch.nn.Module, got {type(model).__name__}")
    if trial is None or trial != "images":
        if pixel_values is not None:
            raise TypeError("accelerate: give pixel_values or trial, not both")
        if isinstance(trial, Mapping):
            return lambda view: view(**_in_precision_of(view, trial))
        if trial is not None and not callable(trial):
            raise TypeError(f"accelerate: trial must be a dictionary, a function or None, got {type(trial).__name__}")
        return trial
    parameter = next(model.parameters())
    if pixel_values is None:
        random = torch.Generator().manual_seed(0)
        pixel_values = torch.randn(1, 3, *_image_size(getattr(model, "config", None)), generator=random)
    images = pixel_values.to(parameter.device)
    return lambda view: view(images.to(next(view.parameters()).dtype))


def _in_precision_of(view: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as they are given; in float32 where a copy of a model in half precision is."""
    half = (torch.float16, torch.bfloat16)
    if next(view.parameters()).dtype != torch.float32:
        return dict(inputs)
    return {
        name: value.float() if isinstance(value, Tensor) and value.dtype in half else value
        for name, value in inputs.items()
    }


def _image_size(config: Any) -> tuple[int, int]:
    """(height, width) that the model was made for, where it was made for one."""
    for owner in (config, getattr(config, "backbone_config", None)):
        size = getattr(owner, "image_size", None)
        if isinstance(size, int):
            return size, size
        if isinstance(size, list | tuple) and len(size) == 2:
            return int(size[0]), int(size[1])
    return 480, 640


def convert(model: nn.Module, num_subject_queries: int, num_classes: int, **options: Any) -> DSCT:
    """Builds an emotion model from Hugging Face's ``DeformableDetrForObjectDetection`` or ``DeformableDetrModel``.

    Args:
        model: the detector; it is not changed.
        num_subject_queries: N, the largest number of people that can be found.
        num_classes: C emotions.
        **options: those of :func:`dsct.interop.deformable_detr.convert`; numbers of heads and points come from the
            model's ``config`` unless given.

    Returns:
        The model, in training mode.

    Raises:
        ValueError: the weights are not those of a Deformable DETR with a ResNet.

    Example:
        ``convert(DeformableDetrForObjectDetection.from_pretrained("SenseTime/deformable-detr"), 4, 26)``
    """
    return convert_detector(model, num_subject_queries, num_classes, **options)


@torch.no_grad()
def _timed(model: nn.Module, run: Run, repeats: int = 2) -> tuple[list[Tensor], float]:
    """Floating-point outputs of the last pass, and the seconds of the fastest."""
    seconds = []
    view = evaluation_view(model)
    device = next(model.parameters()).device
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


def _difference(found: Tensor, expected: Tensor) -> float:
    """Relative to the largest finite value; infinite where a number is not finite on one side, or in another way."""
    if found.shape != expected.shape:
        return math.inf
    found, expected = found.double(), expected.double()
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()) or not torch.equal(found[~finite], expected[~finite]):
        return math.inf
    if not finite.any():
        return 0.0
    found, expected = found[finite], expected[finite]
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
