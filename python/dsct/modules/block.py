"""The base of all native blocks: real parameters here, computation in Rust."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")

#: Native and composite form of every pair, by the name of its function or method.
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}


class Block(nn.Module):
    """A module whose forward is one native call on the tensors that it has at that moment.

    Nothing is cached between calls, so ``.to()``, ``half()``, ``load_state_dict(assign=True)``, optimizers, EMA,
    ``deepcopy``, pickle, DDP, ``torch.func.functional_call`` and parametrizations work as for any module. Submodules
    are containers of parameters: hooks on a block run, hooks on a linear layer inside a block do not.

    A native call hides its operators from a tracer that reads Python, and does not support symbolic sizes. So every
    native call is part of a :func:`pair`.
    """

    def tensors(self) -> dict[str, Tensor]:
        """As :func:`tensors_of`."""
        return tensors_of(self)


def pair(native: Callable[Inputs, Output]) -> Callable[[Callable[Inputs, Output]], Callable[Inputs, Output]]:
    """Makes the decorated function or method, in torch's operators, the composite form of a native one.

    Both have one signature and compute the same; the composite runs where :func:`is_traced` or :func:`is_transformed`,
    and on the device "meta", which Rust's tensors do not know.

    Example:
        >>> def native_twice(x: Tensor) -> Tensor:
        ...     return 2 * x
        >>> @pair(native=native_twice)
        ... def twice(x: Tensor) -> Tensor:
        ...     return x + x
        >>> twice(torch.ones(2))
        tensor([2., 2.])
    """

    def with_composite(composite: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
        @functools.wraps(composite)
        def call(*inputs: Inputs.args, **options: Inputs.kwargs) -> Output:
            return either(native, composite, *inputs, **options)

        PAIRS[composite.__qualname__] = (native, composite)
        return call

    return with_composite


def either(
    native: Callable[Inputs, Output],
    composite: Callable[Inputs, Output],
    *inputs: Inputs.args,
    **options: Inputs.kwargs,
) -> Output:
    """Calls `composite` where :func:`is_traced`, :func:`is_transformed` or without data, else `native`."""
    return (composite if is_traced() or is_transformed() or _is_meta(inputs) else native)(*inputs, **options)


def _is_meta(inputs: tuple[Any, ...]) -> bool:
    """Whether the first tensor among the inputs has no data."""
    for each in inputs:
        if isinstance(each, (list, tuple)) and each:
            each = each[0]
        if isinstance(each, Tensor):
            return each.is_meta
        if not isinstance(each, nn.Module) and isinstance(tensor := getattr(each, "src", None), Tensor):
            return tensor.is_meta
    return False


def is_traced() -> bool:
    """Whether torch records the operators that run now: ``torch.compile``, ``torch.export``, ``make_fx``."""
    return torch.compiler.is_compiling() or get_proxy_mode() is not None


def is_transformed() -> bool:
    """Whether ``vmap`` or forward mode (``jvp``, ``forward_ad.dual_level``) is at work.

    Under ``vmap`` nothing is written in place into what is the same for all calls; in forward mode torch has no
    derivative of a group norm of channels-last maps. Native calls do the one and have the other.
    """
    if torch.compiler.is_compiling():  # what a compiler writes for the graph is not seen here
        return False
    if forward_ad._current_level >= 0:
        return True
    return any(layer.key() == TransformType.Vmap for layer in get_interpreter_stack() or ())


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """Positions are at least float32: bfloat16 has 8 bits for one."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Current parameters and buffers by dotted name, parametrized ones as computed."""
    found: dict[str, Tensor] = {}
    _collect(module, "", found)
    return found


def recomputed(layer: nn.Module, *arguments: Any) -> Any:
    """The layer's output; intermediate results are computed again when the backward pass needs them."""
    # Stopping early works by an exception inside the layer, which cannot cross the native call.
    return checkpoint(layer, *arguments, use_reentrant=False, early_stop=False)


def _collect(module: nn.Module, prefix: str, found: dict[str, Tensor]) -> None:
    for name in (*module._parameters, *module._buffers):
        tensor = getattr(module, name)
        if tensor is not None:
            found[prefix + name] = tensor
    for name, child in module._modules.items():
        if child is None:
            continue
        if name == "parametrizations" and is_parametrized(module):
            for parametrized in child._modules:
                found[prefix + parametrized] = getattr(module, parametrized)
        else:
            _collect(child, f"{prefix}{name}.", found)
