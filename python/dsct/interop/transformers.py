"""Hugging Face's Deformable DETR: faster as it is, or as the start of a DSCT."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dsct.checkpoint.hugging_face import sizes_of_config
from dsct.interop.attention import accelerate_attention
from dsct.interop.deformable_detr import convert as convert_detector
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view


@dataclass(frozen=True)
class Acceleration:
    """The result of :func:`accelerate`.

    Attributes:
        exchanged: name in the model -> kind of attention, for every module that was replaced.
        difference: largest difference of an output before and after, relative to its largest value.
        seconds_before: seconds of a forward pass on the images.
        seconds_after: the same with the package's operator.

    Example:
        >>> print(Acceleration({"encoder.attn": "Hugging Face"}, 1e-6, seconds_before=0.6, seconds_after=0.2))
        1 attention modules replaced; outputs differ by 1.0e-06; 0.6 s -> 0.2 s, 3.00 times as fast
    """

    exchanged: dict[str, str]
    difference: float
    seconds_before: float
    seconds_after: float

    def __str__(self) -> str:
        return (f"{len(self.exchanged)} attention modules replaced; outputs differ by {self.difference:.1e}; "
                f"{self.seconds_before:.3g} s -> {self.seconds_after:.3g} s, "
                f"{self.seconds_before / self.seconds_after:.2f} times as fast")  # fmt: skip


def accelerate(model: nn.Module, pixel_values: Tensor | None = None, *, verbose: bool = True) -> Acceleration:
    """Replaces the attention in a Hugging Face model by the package's operator, in place, and shows what that changes.

    Args:
        model: any model with Hugging Face's ``MultiScaleDeformableAttention``; it keeps its mode and parameters.
        pixel_values: (B, 3, H, W) images to compare and time on; by default one random image of 480 x 640.
        verbose: print the result.

    Returns:
        The result.

    Raises:
        ValueError: the model contains no such attention, or its outputs changed by more than 1e-3.

    Example:
        ``accelerate(DeformableDetrForObjectDetection.from_pretrained("SenseTime/deformable-detr"))``
    """
    parameter = next(model.parameters())
    if pixel_values is None:
        pixel_values = torch.randn(1, 3, 480, 640)
    pixel_values = pixel_values.to(parameter.device, parameter.dtype)
    expected, before = _timed(model, pixel_values)
    replaced = accelerate_attention(model)
    if not replaced:
        raise ValueError(f"model must contain MultiScaleDeformableAttention, found none in {type(model).__name__}")
    found, after = _timed(model, pixel_values)
    difference = max(_difference(one, other) for one, other in zip(found, expected, strict=True))
    # Half precision rounds at 1e-2; a larger difference is not rounding.
    if not difference < (1e-3 if parameter.dtype in (torch.float32, torch.float64) else 5e-2):
        raise ValueError(
            f"model computes something other than deformable attention: outputs changed by {difference:.1e}"
        )
    result = Acceleration(replaced, difference, before, after)
    if verbose:
        print(result)
    return result


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
    own: Any = getattr(model, "config", None)
    sizes = {} if own is None else sizes_of_config(own.to_json_string(use_diff=False))
    return convert_detector(model, num_subject_queries, num_classes, **{**sizes, **options})


@torch.no_grad()
def _timed(model: nn.Module, pixel_values: Tensor, repeats: int = 2) -> tuple[list[Tensor], float]:
    """Floating-point outputs of the last pass, and the seconds of the fastest."""
    seconds = []
    view = evaluation_view(model)
    for _ in range(repeats):
        began = time.perf_counter()
        outputs = view(pixel_values)
        if pixel_values.is_cuda:
            torch.cuda.synchronize(pixel_values.device)
        seconds.append(time.perf_counter() - began)
    values = outputs.values() if isinstance(outputs, Mapping) else [outputs]
    return [value for value in values if isinstance(value, Tensor) and value.is_floating_point()], min(seconds)


def _difference(found: Tensor, expected: Tensor) -> float:
    scale = expected.abs().max().clamp(min=1e-12)
    return float((found - expected).abs().max() / scale)
