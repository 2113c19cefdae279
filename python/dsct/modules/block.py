"""The base of all native blocks: real parameters here, mathematics in Rust."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    """A module whose forward is one native call on the tensors that it holds at that moment.

    Nothing is cached between calls, so ``.to()``, ``half()``, ``load_state_dict(assign=True)``, optimizers, EMA,
    ``deepcopy``, pickle, DDP, ``torch.func.functional_call`` and parametrizations work as for any module. Submodules
    are containers of parameters: hooks on a block run, hooks on a linear layer inside a block do not.
    """

    def tensors(self) -> dict[str, Tensor]:
        """Current parameters and buffers by dotted name, parametrized ones as computed."""
        found: dict[str, Tensor] = {}
        _collect(self, "", found)
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
