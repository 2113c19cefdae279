"""The classes of exchanged modules: each stands between a module's original class and what was derived for it.

torch derives classes for single modules, too: ``parametrize`` and ``fully_shard`` put theirs on top of what is there.
Such a class may belong to several modules, such as a module and its deep copy, so it is never changed: a module gets
another of its own, on top of another class.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from dsct.interop.calls import KINDS, Kind
from dsct.modules.evaluating import Counterparts

_ORIGINAL_CLASS = "_dsct_original_class"
#: What a class gets when it is made; what it inherits from cannot be given again.
_OF_EVERY_CLASS = {"__dict__", "__weakref__", "__slots__"}


def exchange_class(module: nn.Module, kind: Kind) -> None:
    """Has the module compute as `kind` does, until :func:`restore_class`.

    Example:
        >>> module = nn.Linear(2, 2)
        >>> exchange_class(module, KINDS[0])
        >>> type(module).__name__, type(module) is nn.Linear, exchanged_kind(module)
        ('Linear', False, 'Hugging Face')
    """
    # A parametrized module has a class of its own, whose removal takes the class below: that is where ours belongs.
    own: Any = type(module)
    original = own.__bases__[0] if _is_of_parametrize(module) else own
    module.__class__ = _on_top_of(own, original, _made_class(original, kind))


def restore_class(module: nn.Module) -> None:
    """Undoes :func:`exchange_class`; what was derived since then is derived from the original class.

    Example:
        >>> module = nn.Linear(2, 2)
        >>> exchange_class(module, KINDS[0])
        >>> restore_class(module)
        >>> type(module) is nn.Linear
        True
    """
    made = _made_in(module)
    if made is not None:
        module.__class__ = _on_top_of(type(module), made, getattr(made, _ORIGINAL_CLASS)[0])


def exchanged_kind(module: nn.Module) -> str | None:
    """The name of the kind that the module computes as; None if it computes by itself.

    Example:
        >>> exchanged_kind(nn.Linear(1, 1)) is None
        True
    """
    made = _made_in(module)
    return None if made is None else getattr(made, _ORIGINAL_CLASS)[1]


def _is_of_parametrize(module: nn.Module) -> bool:
    """Whether the module's class is the one that holds its parametrized tensors."""
    tensors: Any = module.parametrizations if parametrize.is_parametrized(module) else ()
    return any(name in vars(type(module)) for name in tensors)


def _on_top_of(own: type, old: type, new: type) -> Any:
    """`own`, which is `old` or derived from it, as a further class that is derived from `new` instead."""
    if own is old or not issubclass(own, old):
        return new if own is old else own
    bases = tuple(_on_top_of(base, old, new) for base in own.__bases__)
    metaclass: Any = type(own)
    made = metaclass(own.__name__, bases, {"__module__": own.__module__, "__qualname__": own.__qualname__})
    counterparts = Counterparts()  # a method without arguments of super() knows its class
    counterparts.add(own, made)
    for name, value in vars(own).items():
        if name not in _OF_EVERY_CLASS:
            setattr(made, name, _part_of(value, counterparts))
    return made


def _part_of(value: Any, counterparts: Counterparts) -> Any:
    if isinstance(value, classmethod | staticmethod):
        return type(value)(counterparts.of(value.__func__))
    if type(value) is property:
        return property(
            counterparts.of(value.fget), counterparts.of(value.fset), counterparts.of(value.fdel), value.__doc__
        )
    return counterparts.of(value)


@functools.cache
def _made_class(original: type, kind: Kind) -> type:
    names = {
        "forward": kind.forward,
        "__reduce_ex__": _reduce,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
        _ORIGINAL_CLASS: (original, kind.name),
    }
    metaclass: Any = type(original)
    return metaclass(original.__name__, (original,), names)  # type: ignore[no-any-return]


def _made_in(module: nn.Module) -> type | None:
    return next((each for each in type(module).__mro__ if _ORIGINAL_CLASS in vars(each)), None)


def _reduce(module: Any, protocol: Any) -> Any:
    """For pickle and ``copy``, which do not find a class by its name that was made here."""
    made: Any = _made_in(module)
    reduced = super(made, module).__reduce_ex__(max(2, protocol))
    if type(module) is not made:  # whoever derived the class from ours decides
        return reduced
    return (_blank, getattr(made, _ORIGINAL_CLASS), *reduced[2:])


def _blank(original: type, name: str) -> Any:
    made: Any = _made_class(original, next(kind for kind in KINDS if kind.name == name))
    return made.__new__(made)
