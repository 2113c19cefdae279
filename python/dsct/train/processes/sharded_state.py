"""State of a model in several processes, saved and loaded as if there were one.

So a run can be resumed with another number of processes, and its files are those of a run in one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from dsct.train.processes.parallel_model import full_tensor, unwrap


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Whole parameters and buffers by name. All processes call it, because each holds a part.

    Args:
        model: what :func:`dsct.train.processes.parallel_model.wrap` returned.

    Returns:
        The unwrapped model's ``state_dict()``; gathered tensors are on the CPU. A parameter with several names is one
        tensor.

    Example:
        >>> list(model_state(torch.nn.Linear(1, 1)))
        ['weight', 'bias']
    """
    state: dict[str, Tensor] = unwrap(model).state_dict()
    found = {id(tensor): tensor for tensor in state.values()}
    gathered = {key: _full_on_cpu(tensor) for key, tensor in found.items()}
    return {name: gathered[id(tensor)] for name, tensor in state.items()}


def load_model_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Puts back what :func:`model_state` returned. All processes call it with the same state.

    Args:
        model: what :func:`dsct.train.processes.parallel_model.wrap` returned, in as many processes as there are now.
        state: whole tensors by name.

    Raises:
        RuntimeError: names or shapes differ from the model's.

    Example:
        >>> linear = torch.nn.Linear(1, 1)
        >>> load_model_state(linear, {"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
        >>> linear.weight.item()
        1.0
    """
    model = unwrap(model)
    current = model.state_dict()
    model.load_state_dict({name: _placed_like(tensor, current.get(name)) for name, tensor in state.items()})


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's ``state_dict()`` with whole tensors. All processes call it, because each holds a part.

    Example:
        >>> optimizer = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())
        >>> sorted(optimizer_state(optimizer))
        ['param_groups', 'state']
    """
    state: dict[str, Any] = tree_map_only(Tensor, _full_on_cpu, optimizer.state_dict())
    return state


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Puts back what :func:`optimizer_state` returned. All processes call it with the same state.

    Args:
        optimizer: of the same parameters in the same groups, in as many processes as there are now.
        state: with whole tensors.

    Raises:
        ValueError: the groups differ from the optimizer's.

    Example:
        >>> optimizer = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())
        >>> load_optimizer_state(optimizer, optimizer_state(optimizer))
    """
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    moments = {
        number: {
            name: _placed_like(value, parameters.get(number)) if isinstance(value, Tensor) else value
            for name, value in of_parameter.items()
        }
        for number, of_parameter in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def _full_on_cpu(tensor: Tensor) -> Tensor:
    return full_tensor(tensor).cpu() if isinstance(tensor, DTensor) else tensor


def _placed_like(tensor: Tensor, like: Tensor | None) -> Tensor:
    """A whole tensor sharded like another one; unchanged where that one is not sharded, or does not fit."""
    if not isinstance(like, DTensor) or like.shape != tensor.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
