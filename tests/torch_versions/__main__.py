"""Which functions of libtorch the extension asks for, and which torch has them: ``python -m tests.torch_versions``.

Arguments are folders of torch (``.../site-packages/torch``) and built extensions, in any order; without an extension
it is the installed one, without a folder every supported torch is fetched from PyPI into ``target/torch*/libtorch``.
Prints a table in Markdown and the names that are missing. A name that is there says nothing about the layout of the
structures behind it: only running does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from build_torch import ROOT, SUPPORTED, minor, version_of
from build_wheel import find_libtorch

LIBRARIES = ("libc10.so", "libtorch.so", "libtorch_cpu.so", "libtorch_python.so")


def symbols(path: Path, kind: str) -> set[str]:
    """The dynamic symbols of a library: those that it is in want of (``undefined``) or has (``defined``)."""
    listed = subprocess.run(
        ["nm", "--dynamic", "--format=posix", f"--{kind}-only", str(path)], capture_output=True, text=True, check=True
    )
    return {line.split()[0].partition("@")[0] for line in listed.stdout.splitlines()}


def readable(names: set[str]) -> list[str]:
    """The names as a C++ programmer writes them, sorted."""
    shown = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return sorted(shown.stdout.split("\n")) if names else []


def missing(extension: Path, torches: dict[str, Path]) -> tuple[int, dict[str, set[str]]]:
    """How many functions of libtorch the extension needs, and those that each torch lacks.

    A name is one of libtorch's if one of the torches has it; others are of Python, C and C++.
    """
    needed = symbols(extension, "undefined")
    has = {version: set().union(*(symbols(folder / "lib" / name, "defined") for name in LIBRARIES))
           for version, folder in torches.items()}  # fmt: skip
    # Some have instances of C++'s own templates among theirs.
    of_torch = {name for name in needed & set().union(*has.values()) if not name.startswith(("_ZNS", "_ZNKS", "_ZS"))}
    return len(of_torch), {version: of_torch - found for version, found in has.items()}


def main(arguments: list[Path]) -> None:
    extensions = [path for path in arguments if path.suffix == ".so"]
    folders = [path for path in arguments if path.suffix != ".so"]
    if not extensions:
        from dsct import _dsct

        extensions = [Path(_dsct.__file__)]
    if not folders:
        folders = [find_libtorch(each, ROOT / "target" / f"torch{minor(each)}" / "libtorch") for each in SUPPORTED]
    torches = {version_of(folder): folder for folder in folders}
    print("| extension | functions of libtorch |", " | ".join(f"lacking in {version}" for version in torches), "|")
    print("|---" * (len(torches) + 2) + "|")
    details = []
    for extension in extensions:
        count, lacking = missing(extension, torches)
        print(f"| {extension.name} | {count} |", " | ".join(str(len(names)) for names in lacking.values()), "|")
        details += [(extension.name, version, name) for version, names in lacking.items() for name in readable(names)]
    for name, version, function in details:
        print(f"{name}: torch {version} has no {function}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
