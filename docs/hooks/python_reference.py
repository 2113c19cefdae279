"""One reference page per public module, made of its docstrings; nothing is imported, only read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCES = Path(__file__).parents[2] / "python"
FOLDER = "reference/python"
UNLISTED = {"dsct.cli": "the page of the command line says it", "dsct.__main__": "runs the command line"}
ROLE = re.compile(r":(?:attr|class|func|meth|mod):`~?([\w.]+)`")


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: Sphinx roles become links, and ``Example:`` the section that shows doctests."""

    def on_package(self, *, pkg: griffe.Module, **_kwargs: Any) -> None:
        """Rewrites every docstring of a package that has just been read."""
        for found in members(pkg):
            if found.docstring:
                text = re.sub(r"^Example:$", "Examples:", found.docstring.value, flags=re.MULTILINE)
                found.docstring.value = ROLE.sub(lambda role, scope=found: link(role[1], scope), text)


def members(owner: griffe.Object) -> list[griffe.Object]:
    """An object and all that is defined inside it."""
    own = [member for member in owner.members.values() if isinstance(member, griffe.Object)]
    return [owner, *(found for member in own for found in members(member))]


def link(name: str, scope: griffe.Object) -> str:
    """A name in a docstring as a link to where it is defined, or as it is where the package does not define it."""
    first, *rest = name.split(".")
    try:
        path = ".".join([first if first == "dsct" else scope.resolve(first), *rest])
        return f"[`{name}`][{scope.package.get_member(path.removeprefix('dsct.')).canonical_path}]"
    except (griffe.NameResolutionError, KeyError):
        return f"`{name}`"


def package() -> griffe.Module:
    """The package as it is written."""
    return griffe.load("dsct", search_paths=[SOURCES], extensions=griffe.load_extensions(Docstrings))


def public_modules(module: griffe.Module) -> list[griffe.Module]:
    """A module and the modules inside it that are for users, by name."""
    inside = sorted((one for one in module.modules.values() if not one.is_alias), key=lambda one: one.name)
    shown = [one for one in inside if not one.name.startswith("_") and one.path not in UNLISTED]
    return [module, *(found for one in shown for found in public_modules(one))]


def page_of(module: griffe.Module) -> str:
    """Where the page of a module is, in the site's sources."""
    path = "/".join(module.path.split(".")[1:])
    if module.is_init_module:
        path = f"{path}/index" if path else "index"
    return f"{FOLDER}/{path}.md"


def content_of(module: griffe.Module) -> str:
    """The Markdown of a page. A package lists what it offers; that is described where it is defined."""
    if not module.is_init_module:
        return f"::: {module.path}\n"
    rows = [row_of(module.members[name]) for name in sorted(module.exports or (), key=str.lower)]
    table = "\n".join(["| name | |", "|---|---|", *rows]) if rows else ""
    return f"::: {module.path}\n    options:\n      members: false\n\n{table}\n"


def row_of(member: griffe.Object | griffe.Alias) -> str:
    """A public name of a package and the first sentence about it."""
    target = member.final_target if isinstance(member, griffe.Alias) else member
    summary = " ".join(target.docstring.value.split("\n\n")[0].split()) if target.docstring else ""
    described = summary and "._" not in target.path
    name = f"[`{member.name}`][{target.path}]" if described else f"`{member.name}`"
    return f"| {name} | {summary.replace('|', chr(92) + '|')} |"


def navigation(module: griffe.Module) -> list[Any]:
    """The pages of a package: its own, then one entry per module inside it."""
    inside = [one for one in public_modules(module)[1:] if one.parent is module]
    return [page_of(module), *({one.name: navigation(one) if one.is_init_module else page_of(one)} for one in inside)]


def on_config(config: MkDocsConfig) -> None:
    """Puts the pages into the navigation."""
    section = next(item["Reference"] for item in config.nav if "Reference" in item)
    section.append({"Python": navigation(package())})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the pages to the files of the site."""
    for module in public_modules(package()):
        files.append(File.generated(config, page_of(module), content=content_of(module)))
