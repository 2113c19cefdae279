"""A model in evaluation mode beside the same model in the mode that its owner chose."""

from __future__ import annotations

import operator
from collections import OrderedDict
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)

#: What can lead to a module. Of these exact types: what a subclass does with its content is unknown.
_CONTAINERS = {dict, OrderedDict, list, tuple}
_FUNCTIONS = {FunctionType, MethodType, partial}


def evaluation_view(model: Model) -> Model:
    """`model` in evaluation mode, as a second set of modules around the same parameters, buffers and hooks.

    Nothing of `model` changes, so another thread may train it or predict with it meanwhile, and there is nothing to
    restore after an error. What modules reach as attributes, in lists, tuples and dictionaries, through bound methods,
    closures and `functools.partial` is exchanged with them; so hooks and compiled modules belong to the view, too.
    An attribute that a module assigns in its forward pass is one of the view, and ends with it.

    Args:
        model: any module. What its own ``eval`` does is done to the view.

    Returns:
        The view, good for as long as `model` keeps its modules; building it takes about a millisecond.

    Raises:
        RuntimeError: a part in training mode is a ``torch.jit.ScriptModule``, of which there is no view.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
        >>> view = evaluation_view(model)
        >>> view.training, view[1].training, model[1].training, view[0].weight is model[0].weight
        (False, False, True, True)
    """
    counterparts = Counterparts()
    for name, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            counterparts.add(module, object.__new__(type(module)))
        elif module.training:
            raise RuntimeError(
                f"evaluation mode: {name or 'model'} must be in evaluation mode already, as it is a "
                "torch.jit.ScriptModule; call its eval() first"
            )
        else:
            counterparts.add(module, module)
    for module in model.modules():
        view = counterparts.of(module)
        if view is not module:
            vars(view).update({name: counterparts.of(value) for name, value in vars(module).items()})
    view = counterparts.of(model)
    return view.eval()  # type: ignore[no-any-return]


class Counterparts:
    """What stands in a view for a value of its model: itself, unless it leads to a module.

    Example:
        >>> counterparts = Counterparts()
        >>> counterparts.add(nn.ReLU, nn.GELU)
        >>> counterparts.of([1, nn.ReLU])
        [1, <class 'torch.nn.modules.activation.GELU'>]
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}  # by id, with the value itself, so that no id is used twice

    def add(self, value: Any, counterpart: Any) -> None:
        """Makes `counterpart` the one of `value`."""
        self._known[id(value)] = (value, counterpart)

    def of(self, value: Any) -> Any:
        """The counterpart of `value`, made where it leads to a value that has one."""
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if type(value) in _FUNCTIONS or (type(value) in _CONTAINERS and value):
            self.add(value, value)  # for what contains itself
            self.add(value, self._made(value))
            return self._known[id(value)][1]
        return value

    def _made(self, value: Any) -> Any:
        if isinstance(value, dict):
            items = {key: self.of(item) for key, item in value.items()}
            return value if _same(items.values(), value.values()) else type(value)(items)
        if isinstance(value, list | tuple):
            entries = [self.of(item) for item in value]
            return value if _same(entries, value) else type(value)(entries)
        if isinstance(value, MethodType):
            owner = self.of(value.__self__)
            return value if owner is value.__self__ else MethodType(value.__func__, owner)
        if isinstance(value, partial):
            parts = (value.func, value.args, value.keywords)
            function, args, keywords = map(self.of, parts)
            return value if _same((function, args, keywords), parts) else partial(function, *args, **keywords)
        return self._function(value)

    def _function(self, function: FunctionType) -> FunctionType:
        cells, defaults = function.__closure__ or (), (function.__defaults__, function.__kwdefaults__)
        own = (tuple(map(self._cell, cells)), *map(self.of, defaults))
        if _same(own[0], cells) and _same(own[1:], defaults):
            return function
        made = FunctionType(function.__code__, function.__globals__, function.__name__, own[1], own[0] or None)
        made.__kwdefaults__ = own[2]
        vars(made).update({name: self.of(value) for name, value in vars(function).items()})
        return made

    def _cell(self, cell: CellType) -> CellType:
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            return cell
        counterpart = self.of(content)
        return cell if counterpart is content else CellType(counterpart)


def _same(found: Any, given: Any) -> bool:
    return all(map(operator.is_, found, given))
