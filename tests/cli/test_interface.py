"""The commands take what they took: a changed option, default or limit is a change of what is recorded here.

``python -m tests.cli.test_interface`` records them anew, for the reviewer to compare and the changelog to name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

import dsct
from dsct.cli import app
from dsct.cli.on_demand import OnDemand

RECORDED = Path(__file__).with_name("interface.json")


def commands(command: Any, name: str = "dsct") -> Iterator[tuple[str, Any]]:
    command = command.load() if isinstance(command, OnDemand) else command
    if isinstance(command, TyperGroup):
        for part, each in sorted(command.commands.items()):
            yield from commands(each, f"{name} {part}")
    else:
        yield name, command


def option(parameter: Any) -> dict[str, Any]:
    limited = parameter if hasattr(parameter, "min") else getattr(parameter, "type", None)  # by version of typer
    facts = {
        "default": parameter.default,
        "required": parameter.required,
        "several": getattr(parameter, "multiple", False),
        "min": getattr(limited, "min", None),
        "max": getattr(limited, "max", None),
    }
    shown = {name: value for name, value in facts.items() if value is not None and value is not False}
    text = json.dumps(shown, default=str).replace(str(Path(dsct.__file__).parent), "dsct")
    return json.loads(text)  # type: ignore[no-any-return]


def interface() -> dict[str, Any]:
    """Command -> option -> what it takes."""
    found = commands(typer.main.get_command(app))
    return {
        name: {" ".join([*one.opts, *one.secondary_opts]): option(one) for one in command.params}
        for name, command in found
    }


def test_commands_take_what_is_recorded() -> None:
    assert interface() == json.loads(RECORDED.read_text())


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(interface(), indent=1) + "\n")
