"""Commands that are imported when they run, so that ``dsct --help`` need not import torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import dsct
from dsct.cli.errors import one_line_errors


class Place(NamedTuple):
    """Where a command is, and what the list of commands says about it."""

    module: str
    name: str
    help: str


class OnDemand(TyperCommand):
    """A command of which only the place is known; whoever runs it, asks for its help or completes it gets it."""

    def __init__(self, name: str, place: Place) -> None:
        super().__init__(name, help=place.help)
        self.place = place

    @one_line_errors
    def load(self) -> Any:
        """The command itself, or the group of commands."""
        dsct.load_all()
        found = getattr(import_module(self.place.module), self.place.name)
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(self.name)(found)
            found = app
        command = get_command(found)
        command.name = self.name
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Everything goes on with the context, and with the command in it."""
        return self.load().make_context(*args, **kwargs)


def group_of(places: dict[str, Place]) -> type[TyperGroup]:
    """The class of a group of these commands, for ``typer.Typer(cls=...)``."""

    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, place in places.items():
                self.add_command(OnDemand(name, place))

    return Group
