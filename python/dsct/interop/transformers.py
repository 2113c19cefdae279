"""Hugging Face's Deformable DETR: faster as it is, or as the start of a DSCT."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dsct.interop.attention import (
    exchange_again,
    exchange_attention,
    exchanged_names,
    obstacle_alone,
    restore_attention,
)
from dsct.interop.calls import Kind
from dsct.interop.difference import LARGEST, difference
from dsct.interop.model_trial import Run, Trial, in_half_precision, outputs_of, runner, tried
from dsct.interop.module_trial import NotComparableError, other_computation

if TYPE_CHECKING:
    from dsct.modules import DSCT


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
            return f"{len(self.exchanged)} attention modules replaced; the model's outputs were not compared"
        note = f"; {self.note}" if self.note else ""
        return (f"{len(self.exchanged)} attention modules replaced; outputs differ by {self.difference:.1e}; "
                f"{self.seconds_before:.3g} s -> {self.seconds_after:.3g} s, "
                f"{self.seconds_before / self.seconds_after:.2f} times as fast{note}")  # fmt: skip


def accelerate(
    model: nn.Module, pixel_values: Tensor | None = None, *, trial: Trial = "images", verbose: bool = True
) -> Acceleration:
    """Exchanges the attention in a Hugging Face model for the package's operator, in place, and shows what it changes.

    Attention modules are compared one by one first, as by :func:`dsct.interop.attention.accelerate_attention`, then the
    model's outputs. A model in half precision is timed as it is and compared in float32. The second time, a model
    is compared again with what it computes by itself, and the result is that of the first.

    Args:
        model: any model with Hugging Face's ``MultiScaleDeformableAttention``; it keeps its mode and parameters.
        pixel_values: (B, 3, H, W) images to compare and time on; by default one random image, of the size that the
            model's configuration names, or of 480 x 640.
        trial: what to compare and time on, for a model that needs more than images: its arguments by name, or a
            function of the model that calls it and returns the outputs. The model gets copies of tensors. None
            compares each attention module alone, on random inputs.
        verbose: print the result.

    Returns:
        The result; without a trial its numbers are NaN.

    Raises:
        TypeError: `pixel_values` or `trial` is none of these, or `trial` is given beside `pixel_values`.
        ValueError: the model contains no such attention, does not run on the trial, gives outputs that are not finite
            by itself, or outputs that the exchange changes by more than 1e-3. After any error the model is as it was.

    Example:
        ``accelerate(DeformableDetrForObjectDetection.from_pretrained("SenseTime/deformable-detr"))``
    """
    run = runner(model, pixel_values, trial)
    before = exchanged_names(model)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_available() else ()):
            result = _compared(model, run)
    except BaseException:
        restore_attention(model)
        exchange_again(model, before)
        raise
    if verbose:
        print(result)
    return result


def _compared(model: nn.Module, run: Run | None) -> Acceleration:
    exchanged = _exchanged(model, alone=run is None)
    if run is None:
        return Acceleration(exchanged, math.nan, math.nan, math.nan)
    restore_attention(model)
    expected, before = tried(model, run)
    exchange_again(model, exchanged)
    found, after = outputs_of(model, run)
    changed = max(difference(one, other) for one, other in zip(found, expected, strict=True))
    if not changed < LARGEST:
        raise ValueError(
            f"model must compute deformable attention in {', '.join(exchanged) or 'itself'}; it computes something "
            f"other than deformable attention: outputs changed by {changed:.1e}"
        )
    note = "compared in float32" if in_half_precision(model) else ""
    return Acceleration(exchanged, changed, before, after, note)


def _exchanged(model: nn.Module, *, alone: bool) -> dict[str, str]:
    """Exchanges what can be; what does not run alone is left to the comparison of the model, where there is one."""

    def obstacle(module: nn.Module, kind: Kind, device: torch.device) -> str:
        try:
            return other_computation(module, kind, device)
        except NotComparableError:
            return obstacle_alone(module, kind, device) if alone else ""

    reasons = exchange_attention(model, obstacle)
    exchanged = exchanged_names(model)
    if not exchanged:
        reason = f"; nothing exchanged: {'; '.join(reasons)}" if reasons else ""
        raise ValueError(
            f"model must contain MultiScaleDeformableAttention, found none in {type(model).__name__}{reason}"
        )
    for each in reasons:
        warnings.warn(each, stacklevel=4)
    return exchanged


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
        TypeError: `model` is not a module, or an argument is of another type.
        ValueError: the weights are not those of a Deformable DETR with a ResNet, or the backbones differ.

    Example:
        ``convert(DeformableDetrForObjectDetection.from_pretrained("SenseTime/deformable-detr"), 4, 26)``
    """
    # Needs the model, and with it the extension; the attention above works under any torch.
    from dsct.interop.deformable_detr import convert as convert_detector

    return convert_detector(model, num_subject_queries, num_classes, **options)
