"""A list in which one module can have several places, as the checkpoints list the heads that layers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import torch
from torch import Tensor, nn


class SharedModuleList(nn.Module):
    """Like ``nn.ModuleList``, but a module with several places is registered once, at the first of them.

    With a module registered under several names, ``torch.func.functional_call`` restores tensors that are not the
    module's own. So here ``named_modules`` and ``named_parameters`` know each module by its first name only; the state
    dict alone lists it under every name, and reads it from any of them.

    Args:
        modules: may contain the same module several times.

    Example:
        >>> heads = SharedModuleList([nn.Linear(2, 1)] * 3)
        >>> [name for name, _ in heads.named_parameters()], len(heads.state_dict()), heads[2] is heads[0]
        (['0.weight', '0.bias'], 6, True)
        >>> heads[2] = nn.Linear(2, 1)
        >>> [name for name, _ in heads.named_modules()]
        ['', '0', '2']
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self._place(list(modules))
        self.register_state_dict_post_hook(_list_under_all_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_read_from_any_name)  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self[index] for index in range(len(self))])

    @overload
    def __getitem__(self, index: int) -> nn.Module: ...
    @overload
    def __getitem__(self, index: slice) -> SharedModuleList: ...
    def __getitem__(self, index: int | slice) -> nn.Module:
        if isinstance(index, slice):
            return SharedModuleList(list(self)[index])
        module = self._modules[self.names[index]]
        assert module is not None
        return module

    def __setitem__(self, index: int, module: nn.Module) -> None:
        """Puts a module at one place; the others keep theirs."""
        modules = list(self)
        modules[index] = module
        self._place(modules)

    def __setattr__(self, name: str, value: Any) -> None:
        # Registered beside the shared module, it would have parameters and never run.
        if isinstance(value, nn.Module) and self._is_further_name(name):
            self[int(name)] = value
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        # `torch.distributed.checkpoint` looks for every name of a state dict.
        if self._is_further_name(name):
            return _FurtherName(self.names[int(name)], self[int(name)])
        return super().__getattr__(name)

    def extra_repr(self) -> str:
        """For ``print(module)``."""
        return f"{len(self)} places"

    def _is_further_name(self, name: str) -> bool:
        return name.isdecimal() and int(name) < len(self) and name not in self._modules

    def _place(self, modules: list[nn.Module]) -> None:
        for module in modules:
            if not isinstance(module, nn.Module):
                raise TypeError(f"SharedModuleList: modules must be nn.Module, got {type(module).__name__}")
        self.names: list[str] = []  # for every place the name of its module
        self._modules.clear()
        first: dict[nn.Module, str] = {}
        for index, module in enumerate(modules):
            if module not in first:
                first[module] = str(index)
                self.add_module(str(index), module)
        self.names = [first[module] for module in modules]


class _FurtherName:
    """Stands for a module under a further name. It is not an ``nn.Module``, so no tensor is replaced through it."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self._name, self._module = name, module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __repr__(self) -> str:
        return f"a further name of module {self._name}"


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are the same in dtype, shape and every bit; NaN equals NaN.

    Example:
        >>> same_bits(torch.tensor([torch.nan]), torch.tensor([torch.nan]))
        True
    """
    if first is second:
        return True
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    mine, theirs = (tensor.detach().contiguous().flatten().view(torch.uint8) for tensor in (first, second))
    return torch.equal(mine, theirs)


def _list_under_all_names(module: SharedModuleList, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    own = [name for name in state if name.startswith(tuple(f"{prefix}{first}." for first in module.names))]
    tensors = {name: state.pop(name) for name in own}
    for index, first in enumerate(module.names):
        for name, tensor in tensors.items():
            place, _, rest = name.removeprefix(prefix).partition(".")
            if place == first:
                state[f"{prefix}{index}.{rest}"] = tensor


def _read_from_any_name(
    module: SharedModuleList,
    state: dict[str, Any],
    prefix: str,
    _metadata: Any,
    _strict: bool,
    _missing: list[str],
    _unexpected: list[str],
    errors: list[str],
) -> None:
    further = {str(index): first for index, first in enumerate(module.names) if str(index) != first}
    for name in [name for name in state if name.startswith(prefix)]:
        place, _, rest = name.removeprefix(prefix).partition(".")
        if place in further:
            tensor, original = state.pop(name), f"{prefix}{further[place]}.{rest}"
            kept = state.setdefault(original, tensor)
            if _comparable(kept, tensor) and not same_bits(kept, tensor):
                errors.append(f"{name} is not {original}, which is the same tensor in the model")


def _comparable(*tensors: Any) -> bool:
    """Whether these are plain tensors with data, not ones of a mode, of other processes or of no device."""
    return all(type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta for tensor in tensors)
