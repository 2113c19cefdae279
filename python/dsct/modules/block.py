"""The base of all native blocks: real parameters here, mathematics in Rust."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    """A module whose forward is one native call on the tensors that it holds at that moment.

    Nothing is cached between calls, so ``.to()``, ``half()``, ``load_state_dict(assign=True)``, optimizers, EMA,
    ``deepcopy``, pickle, DDP, ``torch.func.functional_call`` and parametrizations work as for any module. Submodules
    are containers of parameters: hooks on a block run, hooks on a linear layer inside a block do not.

    A native call hides its operators from a tracer that reads Python, and knows no symbolic size. So each block also
    has its ``composite``, the same mathematics in torch's operators, which runs where :func:`is_traced`.
    """

    def tensors(self) -> dict[str, Tensor]:
        """As :func:`tensors_of`."""
        return tensors_of(self)


def is_traced() -> bool:
    """Whether torch records the operators that run now: ``torch.compile``, ``torch.export``, ``make_fx``."""
    return torch.compiler.is_compiling() or get_proxy_mode() is not None


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """Positions are at least float32: bfloat16 has 8 bits for one."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Current parameters and buffers by dotted name, parametrized ones as computed."""
    found: dict[str, Tensor] = {}
    _collect(module, "", found)
    return found


def recomputed(layer: nn.Module, *arguments: Any) -> Any:
    """The layer's output; what lies between is computed again when the backward pass needs it."""
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
