"""The page of the command line, made of what ``dsct --help`` and the help of every command say."""

from __future__ import annotations

from pathlib import Path

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
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    command.commands = {name: found.load() for name, found in command.commands.items() if isinstance(found, OnDemand)}
    commands = get_docs_for_click(obj=command, ctx=typer.Context(command), name="dsct", title="Commands", indent=1)
    # Defaults are paths on the machine that builds the site.
    return markdown + "\n\n" + commands.replace(str(Path(dsct.__file__).parent), "dsct")
