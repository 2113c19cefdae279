"""One model in several processes: replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from dsct.train.processes.distributed import Processes


def wrap(model: nn.Module, processes: Processes, fsdp: bool = False) -> nn.Module:
    """Makes a model compute the same gradients in every process: the mean of what each process computed.

    Every process starts with the main process's weights. Build the optimizer afterwards, from ``unwrap(model)``. For a
    moving average of the weights, copy the model before, and wrap the copy too if it is to be sharded.

    Args:
        model: a :class:`dsct.DSCT` on ``processes.device``.
        processes: the processes that train.
        fsdp: shard weights, gradients and optimizer state across the processes, instead of copying them to each.

    Returns:
        The model itself when there is one process, or sharded in place; else a ``DistributedDataParallel`` around it.

    Example:
        >>> import dsct
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> wrap(model, Processes()) is model
        True
    """
    if processes.world_size == 1:
        return model
    if fsdp:
        return _shard(model, processes)
    # Every parameter of every variant gets a gradient in every step, even from images without people.
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.shape[2:] == (1, 1):
            parameter.register_hook(_dense_strides)  # type: ignore[no-untyped-call]
    devices = [processes.device] if processes.device.type == "cuda" else None
    wrapped = DistributedDataParallel(model, device_ids=devices)
    # Buffers are those of frozen batch norms, which never change: they start equal, and no pass sends them again. The
    # constructor's argument for this differs between the supported versions of torch; the attribute does not.
    wrapped.broadcast_buffers = False
    return wrapped


def unwrap(model: nn.Module) -> nn.Module:
    """The model that :func:`wrap` was given: with its attributes, and names of parameters without ``module.``.

    Example:
        >>> model = torch.nn.Linear(1, 1)
        >>> unwrap(wrap(model, Processes())) is model
        True
    """
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def gradient_sync(model: nn.Module, enabled: bool) -> Iterator[None]:
    """Whether forward and backward passes inside average gradients over processes.

    To accumulate gradients over several passes, enable it for the last one only. Processes may have different numbers
    of passes: but for the first forward and the last backward, a process needs no other.

    Args:
        model: what :func:`wrap` returned.
        enabled: average, or leave each process with its own gradients, on which the next pass adds.

    Example:
        >>> model = wrap(torch.nn.Linear(1, 1), Processes())
        >>> for last in (False, True):
        ...     with gradient_sync(model, last):
        ...         model(torch.ones(1, 1)).backward()
        >>> float(model.bias.grad)
        2.0
    """
    if isinstance(model, DistributedDataParallel) and not enabled:
        with model.no_sync():
            yield
        return
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(enabled)
        model.set_reshard_after_backward(enabled)
        _reshard_after_forward(model, enabled)
    yield


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Full weights in every process, so that forward passes inside need no other process.

    For evaluation, where processes may have different numbers of batches. All processes enter and leave together;
    nothing inside may change the weights or read ``state_dict``.

    Args:
        model: what :func:`wrap` returned; only a sharded one is changed.

    Example:
        >>> model = wrap(torch.nn.Linear(1, 1), Processes())
        >>> with gathered(model):
        ...     model(torch.zeros(2, 1)).shape
        torch.Size([2, 1])
    """
    for unit in _reshard_after_forward(model, False):
        unit.unshard()
    try:
        yield
    finally:
        for unit in _reshard_after_forward(model, True):
            unit.reshard()


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The full tensor, in every process, if it is sharded across processes; any other tensor unchanged.

    Example:
        >>> norm = torch.ones(())
        >>> full_tensor(norm) is norm
        True
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _shard(model: nn.Module, processes: Processes) -> nn.Module:
    """FSDP2 with backbone and every encoder and decoder layer as units, and the rest as one more.

    A unit is a block whose forward is called as a module, which is when FSDP2 gathers its weights. Heads, level
    embedding and queries are read by the model's own forward and belong to the last unit.
    """
    for tensor in [*model.parameters(), *model.buffers()]:
        distributed.broadcast(tensor.detach(), src=0)
    model.register_forward_hook(_copy_views)
    mesh = init_device_mesh(processes.device.type, (processes.world_size,))
    root: Any = model
    for unit in (root.backbone[0], *root.transformer.encoder.layers, *root.transformer.decoder.layers):
        fully_shard(unit, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _reshard_after_forward(model: nn.Module, enabled: bool) -> list[Any]:
    """Sets it for all units except the root, whose backward begins where its forward ends; returns the units."""
    units: list[Any] = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(enabled and unit is not model, recurse=False)
    return units


def _dense_strides(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient (O, I, 1, 1) with the weight's strides: oneDNN has others for sizes of 1, and DDP warns."""
    return gradient.flatten(1)[:, :, None, None]


def _copy_views(_model: nn.Module, _inputs: Any, outputs: Any) -> Any:
    """FSDP2 begins its backward pass at the outputs, and asks that none of them is a view of another tensor."""
    return tree_map_only(torch.Tensor, lambda tensor: tensor.clone() if tensor._is_view() else tensor, outputs)
