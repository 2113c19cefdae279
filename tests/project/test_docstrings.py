"""Every public name says what it is and shows it: a docstring with an example, which pytest runs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import GenericAlias, ModuleType
from typing import Any

import pytest

import dsct


def packages() -> list[ModuleType]:
    """The top package, and the others that say what is public."""
    names = [info.name for info in pkgutil.walk_packages(dsct.__path__, "dsct.") if info.ispkg]
    return [module for module in map(importlib.import_module, ["dsct", *names]) if hasattr(module, "__all__")]


def members(module: ModuleType) -> list[Any]:
    """What a module says is public, or what it defines under a name without an underscore."""
    if hasattr(module, "__all__"):
        return [getattr(module, name) for name in module.__all__]
    own = [each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__]
    return [each for each in own if not getattr(each, "__name__", "_").startswith("_")]


def public() -> dict[str, Any]:
    """Functions and classes of the packages, and of the modules that are public in them."""
    listed = [item for package in packages() for item in members(package)]
    items = [item for item in listed if not isinstance(item, ModuleType)]
    items += [each for item in listed if isinstance(item, ModuleType) for each in members(item)]
    # Python 3.10 calls dict[str, Any] a class.
    classes = [item for item in items if inspect.isclass(item) and not isinstance(item, GenericAlias)]
    found = [*classes, *filter(inspect.isfunction, items)]
    return {f"{item.__module__}.{item.__qualname__}": item for item in found}


def shows(item: Any) -> bool:
    """An example in its docstring; a class may have it in that of a method, where objects are made."""
    methods = [each for name, each in vars(item).items() if name[0] != "_"] if inspect.isclass(item) else []
    return any("Example:\n" in (inspect.getdoc(each) or "") for each in (item, *methods))


@pytest.mark.parametrize("name", public())
def test_public_names_have_a_docstring_with_an_example(name: str) -> None:
    item = public()[name]
    text = inspect.getdoc(item)
    assert text, "no docstring"
    assert shows(item) or (inspect.isclass(item) and issubclass(item, Exception)), "no example"


def test_public_names_are_found() -> None:
    known = {"dsct.modules.dsct.DSCT", "dsct.ops.ms_deform_attn", "dsct.interop.attention.accelerate_attention"}
    assert known <= public().keys()
