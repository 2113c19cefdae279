"""The convolutions and matrix products of a model, recorded in one step and run again on their own.

Their time is what the model would take if all else were free: a floor for anything built on the same library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

#: Names of ``torch.ops.aten`` that multiply: one of them never calls another where the recorder sees it.
PRODUCTS = {
    "convolution",
    "convolution_backward",
    "_convolution",
    "mkldnn_convolution",
    "linear",
    "addmm",
    "mm",
    "bmm",
    "baddbmm",
    "matmul",
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
}


@dataclass(frozen=True)
class Layout:
    """What of a tensor decides how long an operation takes."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """Layout of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def random(self) -> Tensor:
        """A tensor of this layout."""
        tensor = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)
        return tensor.normal_() if self.dtype.is_floating_point else tensor.zero_()


@dataclass(frozen=True)
class Call:
    """One operation, with layouts in place of tensors."""

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """Without overload."""
        return self.op.overloadpacket.__name__


class Recorder(TorchDispatchMode):
    """Keeps the calls of `PRODUCTS` while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record, then run."""
        kwargs = kwargs or {}
        if func.namespace == "aten" and func.overloadpacket.__name__ in PRODUCTS:
            layouts = tree_map_only(Tensor, Layout.of, (tuple(args), kwargs))
            self.calls.append(Call(func, *layouts))
        return func(*args, **kwargs)


def record(step: Callable[[], Any], gradients: bool = False) -> list[Call]:
    """Calls of one step, those of its backward pass included where it has `gradients`."""
    with torch.set_grad_enabled(gradients), Recorder() as recorder:
        step()
    return recorder.calls


def replay(calls: list[Call]) -> Callable[[], None]:
    """A step that runs exactly these operations on random tensors.

    Equal calls share their tensors, so memory stays small and caches, if anything, are warmer than in the model: the
    floor is rather too low than too high.
    """
    made: dict[tuple[Any, ...], tuple[Any, Any]] = {}
    prepared = []
    for call in calls:
        key = (call.op, repr(call.args), repr(call.kwargs))
        if key not in made:
            made[key] = tree_map_only(Layout, Layout.random, (call.args, call.kwargs))
        prepared.append((call.op, *made[key]))

    def step() -> None:
        with torch.no_grad():
            for op, args, kwargs in prepared:
                op(*args, **kwargs)

    return step


def counts(calls: list[Call]) -> str:
    """How often each operation occurs, for the note of a table."""
    names = [call.name for call in calls]
    return ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
