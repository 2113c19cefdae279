"""Exchanges the computation of deformable attention in existing models for the package's operator.

Modules are recognised by the way they are called, never by where they come from, so that copies of the well-known
classes in other code bases are found too. A module stays the object that it is, with its parameters, hooks, handles and
attributes: its class alone becomes a subclass with another ``forward``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TypeAlias

import torch
from torch import nn

from dsct.interop.calls import KINDS, Kind
from dsct.interop.classes import exchange_class, exchanged_kind, restore_class
from dsct.interop.module_trial import NotComparableError, other_computation
from dsct.interop.views import device_of

try:
    from dsct.modules.ms_deform_attn import MSDeformAttn
except ImportError:  # the extension does not fit this torch: no model has a module of ours
    _OURS: tuple[type[nn.Module], ...] = ()
else:
    _OURS = (MSDeformAttn,)

__all__ = ["accelerate_attention", "exchanged_modules", "restore_attention"]

Obstacle: TypeAlias = Callable[[nn.Module, Kind, torch.device], str]
"""Why a module of this kind, in a model on this device, stays as it is; empty if it does not."""


def accelerate_attention(model: nn.Module, *, compare: bool = True) -> dict[str, str]:
    """Exchanges, in place, the computation of every supported deformable attention for the package's operator.

    Supported, and recognised by the parameters of ``forward``, are Hugging Face's ``MultiScaleDeformableAttention``
    (the sampling alone), Deformable DETR's ``MSDeformAttn`` and its copies (RF-DETR's, Ultralytics'), and the
    ``MultiScaleDeformableAttention`` of mmcv and detrex. A module that resembles one of them but takes more arguments,
    has other attributes, a ``forward`` of its own on the instance, or computes something else is left as it is, with a
    warning that names it.

    Args:
        model: it is changed; its modules, parameters, hooks and their handles stay. :func:`restore_attention` undoes
            it.
        compare: run each module on small random weights and inputs, in float32 and on its own device, and leave it as
            it is if the operator gives another result. One that does not run there, such as the original code on a
            machine without a GPU, is exchanged with a warning.

    Returns:
        Name in the model -> its kind, for every module that is exchanged, also by an earlier call; empty if there is
        none. A module that is at several places is there with each of its names.

    Raises:
        TypeError: `model` is not a module, or `compare` no bool.

    Example:
        >>> from dsct.interop.attention import accelerate_attention
        >>> accelerate_attention(nn.Sequential(nn.Linear(1, 1)))
        {}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate_attention: model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(compare, bool):
        raise TypeError(f"accelerate_attention: compare must be True or False, got {compare!r}")
    left = exchange_attention(model, obstacle_alone if compare else _no_obstacle)
    for sentence in left:
        warnings.warn(sentence, stacklevel=2)
    return exchanged_names(model)


def exchange_attention(model: nn.Module, obstacle: Obstacle) -> list[str]:
    """:func:`accelerate_attention` with a judge of each module, and with sentences instead of warnings.

    Args:
        model: it is changed, or after an error as it was.
        obstacle: why a module of this kind, in a model on this device, is not exchanged; empty if it is.

    Returns:
        A sentence for each class of attention that was left alone.

    Example:
        >>> exchange_attention(nn.Linear(1, 1), lambda module, kind, device: "")
        []
    """
    chosen: dict[nn.Module, Kind] = {}
    left: dict[nn.Module, str] = {}
    for module in model.modules():
        if isinstance(module, _OURS) or exchanged_kind(module) is not None:
            continue
        kind = next((kind for kind in KINDS if kind.resembles(module)), None)
        if kind is None:
            continue
        if reason := kind.obstacle(module) or obstacle(module, kind, device_of(module, model)):
            left[module] = reason
        else:
            chosen[module] = kind
    _exchange_all(chosen)
    return _left_alone(model, left)


def _no_obstacle(_module: nn.Module, _kind: Kind, _device: torch.device) -> str:
    return ""


def obstacle_alone(module: nn.Module, kind: Kind, device: torch.device) -> str:
    """What the module computes otherwise than its kind; empty if nothing, or, with a warning, if it does not run.

    Example:
        >>> from dsct.modules.ms_deform_attn import MSDeformAttn
        >>> obstacle_alone(MSDeformAttn(8, 1, 2, 1), KINDS[1], torch.device("cpu"))
        ''
    """
    try:
        return other_computation(module, kind, device)
    except NotComparableError as error:
        name = type(module).__name__
        why = f"it does not run on random inputs on {device} ({error})"
        warnings.warn(f"{name} is exchanged without a comparison, as {why}", stacklevel=4)
        return ""


def _exchange_all(chosen: dict[nn.Module, Kind]) -> None:
    done: list[nn.Module] = []
    try:
        for module, kind in chosen.items():
            done.append(module)
            exchange_class(module, kind)
    except BaseException:
        for module in done:
            restore_class(module)
        raise


def _left_alone(model: nn.Module, left: dict[nn.Module, str]) -> list[str]:
    """A sentence for each class of attention that stays as it was."""
    reason = (
        "it is called in a way that is not known, or samples by a function instead of a module; the model works as it "
        "is, and a function can call dsct.ops.ms_deform_attn"
    )
    found: dict[tuple[type, str], list[str]] = {}
    for name, module in model.named_modules():
        is_attention = hasattr(module, "sampling_offsets") and hasattr(module, "attention_weights")
        if module in left or (is_attention and not isinstance(module, _OURS) and not exchanged_modules(module)):
            found.setdefault((type(module), left.get(module, reason)), []).append(name or "model")
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''} ({kind.__name__}) left as it was: {why}"
        for (kind, why), names in found.items()
    ]


def exchanged_modules(model: nn.Module) -> list[nn.Module]:
    """The modules of `model` whose computation is exchanged, each once.

    Example:
        >>> exchanged_modules(nn.Linear(1, 1))
        []
    """
    return [module for module in model.modules() if exchanged_kind(module) is not None]


def exchanged_names(model: nn.Module) -> dict[str, str]:
    """Name in the model -> kind, for every module whose computation is exchanged.

    Example:
        >>> exchanged_names(nn.Linear(1, 1))
        {}
    """
    found = ((name, exchanged_kind(each)) for name, each in _named(model))
    return {name: kind for name, kind in found if kind is not None}


def exchange_again(model: nn.Module, names: dict[str, str]) -> None:
    """Exchanges what :func:`exchanged_names` named, after :func:`restore_attention`.

    Example:
        >>> exchange_again(nn.Linear(1, 1), {})
    """
    kinds = {kind.name: kind for kind in KINDS}
    _exchange_all(
        {each: kinds[names[name]] for name, each in _named(model) if name in names and exchanged_kind(each) is None}
    )


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.named_modules(remove_duplicate=False))


def restore_attention(model: nn.Module, *, keep: Iterable[nn.Module] = ()) -> None:
    """Undoes :func:`accelerate_attention`, in place.

    Args:
        model: as it was given to :func:`accelerate_attention`.
        keep: modules that stay exchanged.

    Raises:
        TypeError: `model` is not a module, or `keep` is not a collection of modules.

    Example:
        >>> restore_attention(nn.Linear(1, 1))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"restore_attention: model must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(keep, nn.Module) or not isinstance(keep, Iterable):
        raise TypeError(f"restore_attention: keep must be a list of modules, got {type(keep).__name__}")
    kept = list(keep)
    for each in kept:
        if not isinstance(each, nn.Module):
            raise TypeError(f"restore_attention: keep must be a list of modules, got one with {type(each).__name__}")
    for module in exchanged_modules(model):
        if module not in kept:
            restore_class(module)
