"""The page of the command line, made of what ``dsct --help`` and the help of every command say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click
from typer.core import TyperGroup

import dsct
from dsct.cli import app
from dsct.cli.on_demand import OnDemand

PAGE = "reference/command_line.md"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Appends the commands to the hand-written head of the page."""
    if page.file.src_uri != PAGE:
        return markdown
    command = _loaded(typer.main.get_command(app))
    commands = get_docs_for_click(obj=command, ctx=typer.Context(command), name="dsct", title="Commands", indent=1)
    # Defaults are paths on the machine that builds the site.
    return markdown + "\n\n" + commands.replace(str(Path(dsct.__file__).parent), "dsct")


def _loaded(command: Any) -> Any:
    """The command, or the group with all its commands."""
    command = command.load() if isinstance(command, OnDemand) else command
    if isinstance(command, TyperGroup):
        command.commands = {name: _loaded(found) for name, found in command.commands.items()}
    return command
