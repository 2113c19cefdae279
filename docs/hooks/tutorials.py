"""The notebooks of the repository as tutorial pages, in the order of their file names; none is copied into git."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / os.environ.get("NOTEBOOKS", "notebooks")
INDEX = "tutorials/index.md"
SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL | re.IGNORECASE)
FETCHES = re.compile(r"mathjax|mermaid|src=\"\"", re.IGNORECASE)


def notebooks() -> list[Path]:
    """Every notebook there is."""
    return sorted(FOLDER.glob("*.ipynb"))


def opening(notebook: Path) -> tuple[str, str]:
    """The title of a notebook and its first paragraph.

    Raises:
        ValueError: the first cell is not Markdown that begins with a heading.
    """
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    title, *paragraphs = "".join(first["source"]).strip().split("\n\n")
    if first["cell_type"] != "markdown" or not title.startswith("# ") or "\n" in title:
        raise ValueError(f"{notebook}: the first cell must begin with a heading and an empty line, got {title!r}")
    return title.removeprefix("# "), paragraphs[0] if paragraphs else ""


def on_config(config: MkDocsConfig) -> None:
    """Puts the notebooks into the navigation, under their titles."""
    section = next(item["Tutorials"] for item in config.nav if "Tutorials" in item)
    section += [{opening(notebook)[0]: f"notebooks/{notebook.name}"} for notebook in notebooks()]


@event_priority(100)  # before the plugin that renders notebooks looks for them
def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the notebooks to the files of the site."""
    for notebook in notebooks():
        files.append(File(f"notebooks/{notebook.name}", str(FOLDER.parent), config.site_dir, config.use_directory_urls))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lists the notebooks on the section's first page."""
    if page.file.src_uri != INDEX:
        return markdown
    entries = [entry(notebook) for notebook in notebooks()]
    return "\n\n".join([markdown, *entries])


def entry(notebook: Path) -> str:
    """A notebook in the list: its title as link, and what it is about."""
    title, text = opening(notebook)
    return f"[{title}](../notebooks/{notebook.name})\n:   {' '.join(text.split())}"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leaves out the scripts that would fetch MathJax and Mermaid from the network; formulas are plain Unicode here."""
    if page.file.src_uri.endswith(".ipynb"):
        return SCRIPT.sub(lambda script: "" if FETCHES.search(script[0]) else script[0], html)
    return html
