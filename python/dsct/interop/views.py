"""Models with other tensors, and copies of what they are called with: the model itself stays as it is."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dsct.modules.evaluating import evaluation_view


def is_half(tensor: Tensor) -> bool:
    """Whether the tensor has floating-point numbers of less than 32 bits.

    Example:
        >>> is_half(torch.zeros(1)), is_half(torch.zeros(1).bfloat16())
        (False, True)
    """
    return tensor.is_floating_point() and tensor.element_size() < 4


def device_of(*models: nn.Module) -> torch.device:
    """That of the first parameter or buffer with numbers; the processor where there is none.

    Example:
        >>> device_of(nn.Identity())
        device(type='cpu')
    """
    tensors = (tensor for model in models for tensor in (*model.parameters(), *model.buffers()))
    return next((tensor.device for tensor in tensors if tensor.device.type != "meta"), torch.device("cpu"))


def view_with(model: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """An evaluation view of `model` whose parameters, buffers and other tensors are what `change` makes of them.

    A tensor that is at several places stays one.

    Example:
        >>> view = view_with(nn.Linear(2, 2).half(), in_float32)
        >>> view.weight.dtype
        torch.float32
    """
    known: dict[int, tuple[Tensor, Tensor]] = {}

    def changed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in known:
            made = change(value)
            if isinstance(value, nn.Parameter) and made.is_floating_point():
                made = nn.Parameter(made, requires_grad=value.requires_grad)
            known[id(value)] = (value, made)
        return known[id(value)][1]

    view = evaluation_view(model)
    for module in view.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        for name, value in list(vars(module).items()):
            if type(value) in (dict, OrderedDict):
                vars(module)[name] = type(value)((key, changed(each)) for key, each in value.items())
            elif type(value) in (list, tuple):
                vars(module)[name] = type(value)(map(changed, value))
            else:
                vars(module)[name] = changed(value)
    return view


def in_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it has fewer bits, otherwise as it is.

    Example:
        >>> in_float32(torch.zeros(1).half()).dtype, in_float32(torch.zeros(1).double()).dtype
        (torch.float32, torch.float64)
    """
    return tensor.detach().float() if is_half(tensor) else tensor


def copied(value: Any, change: Callable[[Tensor], Tensor] = Tensor.clone) -> Any:
    """The value with `change` of each tensor in it: in lists, tuples, mappings and attributes of other objects.

    Example:
        >>> given = {"images": [torch.zeros(1)]}
        >>> copied(given)["images"][0] is given["images"][0]
        False
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(copied(each, change) for each in value))
    if type(value) in (list, tuple):
        return type(value)(copied(each, change) for each in value)
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        return type(value)((key, copied(each, change)) for key, each in value.items())
    own = {} if isinstance(value, nn.Module | type) or callable(value) else getattr(value, "__dict__", {})
    made = {name: copied(each, change) for name, each in own.items() if isinstance(each, Tensor | Mapping)}
    if any(made[name] is not own[name] for name in made):
        value = copy.copy(value)
        vars(value).update(made)
    return value


def with_copied_inputs(view: nn.Module) -> nn.Module:
    """Has `view` called with copies, so that it cannot change what is the caller's.

    Example:
        >>> given, view = torch.ones(1), evaluation_view(nn.ReLU(inplace=True))
        >>> with_copied_inputs(view)(given) is given
        False
    """
    return _calls_with(view, Tensor.clone)


def with_inputs_in_float32(view: nn.Module) -> nn.Module:
    """Has each module of `view` called with numbers of at least 32 bits.

    Example:
        >>> view = evaluation_view(nn.ReLU())
        >>> with_inputs_in_float32(view)(torch.ones(1).half()).dtype
        torch.float32
    """
    for module in view.modules():
        _calls_with(module, in_float32)
    return view


def _calls_with(view: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    if isinstance(view, torch.jit.ScriptModule):  # of which there is no view
        return view
    for name in ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"):  # an empty one is the model's own
        vars(view)[name] = OrderedDict(vars(view)[name])
    view.register_forward_pre_hook(
        lambda _, args, kwargs: (copied(args, change), copied(kwargs, change)), prepend=True, with_kwargs=True
    )
    return view
