"""What the modules of a live detector do otherwise than a DSCT's, and neither tensors nor configuration show."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from torch import nn

from dsct.modules import DSCT

_EPS = 1e-5
_GROUPS = 32
#: Of modules that encode positions, by the names that the original code, Hugging Face and forks give them.
_POSITION_ENCODING = {"temperature": 10000, "temperatureH": 10000, "temperatureW": 10000, "normalize": True,
                      "scale": 2 * math.pi}  # fmt: skip
_DILATED = "the last stage of the file's backbone is dilated (DC5), the model's is not"


def unkept_by_modules(model: nn.Module, built: DSCT) -> Iterator[str]:
    """A sentence for everything that changes what the weights compute.

    Args:
        model: the detector.
        built: the model that gets its weights, of the same sizes.

    Example:
        >>> from dsct.config import DSCTConfig
        >>> detector, built = (DSCT(DSCTConfig.tiny(num_subject_queries=people)) for people in (0, 4))
        >>> detector.transformer.encoder.layers[0].norm2.eps = 1e-12
        >>> list(unkept_by_modules(detector, built))
        ['eps of a layer norm is 1e-12 in the detector and 1e-05 in the model: transformer.encoder.layers.0.norm2']
    """
    backbone = {name: module for name, module in model.named_modules() if "backbone" in name}
    if any(isinstance(module, nn.Conv2d) and set(module.dilation) != {1} for module in backbone.values()):
        yield _DILATED
    else:
        yield from _strides(backbone, built)
    yield from _backbone_activations(backbone)
    yield from _activations(model)
    found: dict[tuple[str, Any, Any], list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for what, value, fixed in _numbers(module, built.config.hidden_dim, name in backbone):
            if value != fixed:
                found[what, value, fixed].append(name)
    for (what, value, fixed), names in found.items():
        others = f" and {len(names) - 1} others" if len(names) > 1 else ""
        yield f"{what} is {value!r} in the detector and {fixed!r} in the model: {names[0]}{others}"


def _numbers(module: nn.Module, width: int, in_backbone: bool) -> Iterator[tuple[str, Hashable, Hashable]]:
    """What, the detector's value, and the model's, of a module that is told by its type or its attributes."""
    known = vars(module)
    if isinstance(module, nn.LayerNorm) and module.normalized_shape == (width,):
        yield "eps of a layer norm", module.eps, _EPS
    if isinstance(module, nn.GroupNorm) and module.num_channels == width and not in_backbone:
        yield "eps of a group norm", module.eps, _EPS
        yield "the number of groups of a group norm", module.num_groups, _GROUPS
    if in_backbone and hasattr(module, "running_var") and isinstance(known.get("eps"), float):
        yield "eps of a norm of the backbone", known["eps"], _EPS
    if {"temperature", "temperatureH"} & set(known) and "normalize" in known:
        for attribute, fixed in _POSITION_ENCODING.items():
            value = known.get(attribute)
            if isinstance(value, int | float) and not math.isclose(value, fixed):
                yield f"{attribute} of the position encoding", value, fixed


def _strides(backbone: dict[str, nn.Module], built: DSCT) -> Iterator[str]:
    """Of convolutions that both have equally often, told by their shape: their order differs between ResNets."""
    theirs, ours = _by_shape(backbone.values()), _by_shape(built.backbone.modules())
    for shape, strides in theirs.items():
        expected = ours.get(shape, [])
        if len(strides) == len(expected) and sorted(strides) != sorted(expected):
            outputs, inputs, *kernel = shape
            got, fixed = (", ".join(sorted({str(stride[0]) for stride in each})) for each in (strides, expected))
            yield (f"the stride of a {kernel[0]} x {kernel[1]} convolution of {inputs} to {outputs} channels of the "
                   f"backbone is {got} in the detector and {fixed} in the model")  # fmt: skip


def _by_shape(modules: Iterable[nn.Module]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    strides: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
    for module in modules:
        if isinstance(module, nn.Conv2d):
            strides[tuple(module.weight.shape)].append(tuple(module.stride))
    return strides


def _backbone_activations(backbone: dict[str, nn.Module]) -> Iterator[str]:
    """Modules that are activations by their type or name; those named ``relu`` may not be missing."""
    for found in dict.fromkeys(
        type(module).__name__
        for name, module in backbone.items()
        if not isinstance(module, nn.ReLU) and not list(module.children()) and _is_activation(name, module)
    ):
        yield f"the activation of the backbone is {found} in the detector and ReLU in the model"


def _is_activation(name: str, module: nn.Module) -> bool:
    last = name.rpartition(".")[2]
    if last.startswith("relu"):
        return True
    if isinstance(module, nn.Identity):
        return False
    by_type = re.search(r"(^|\.)activations?$", type(module).__module__) or "Activation" in type(module).__name__
    return bool(by_type or re.fullmatch(r"act(ivation)?(_fn)?\d*", last))


def _activations(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if not re.search(r"\b(encoder|decoder)\.layers\.\d+(\.mlp)?$", name):
            continue
        for attribute in ("activation", "activation_fn"):
            function = getattr(module, attribute, None)
            found = getattr(function, "__name__", type(function).__name__).lower()
            if callable(function) and not found.startswith("relu"):
                part = "encoder" if "encoder.layers" in name else "decoder"
                yield f"the activation of the {part} is {found} in the detector and relu in the model"
