"""The torch that the extension is built for: which are supported, which one is there, and sources with its name.

``python build_torch.py 2.14`` prints the release of torch 2.14 that is meant, without an argument that of the newest
that there is for this Python.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent
#: The newest release of every torch that the sources are built and tested for, the newest torch first. An extension
#: that was built for one of a row loads under all of it, see docs/explanation/torch_versions.md.
LOADED_ALIKE = (("2.15.0", "2.14.1", "2.13.0"), ("2.12.1",), ("2.11.0",))
SUPPORTED = tuple(version for row in LOADED_ALIKE for version in row)
#: Pythons for which the newest torch has no wheels any more.
NEWEST_OF_OLD_PYTHONS = {(3, 10): "2.14.1"}
FILES = ("Cargo.toml", "Cargo.lock", "pyproject.toml", "build.rs", "build_*.py", "README.md", "LICENSE*")
FOLDERS = (".cargo", "src", "cuda", "python")
_PROBE = "import importlib.util; print(importlib.util.find_spec('torch').submodule_search_locations[0])"


def minor(version: str) -> str:
    """The part of a version that stands for a torch here: 2.15 of 2.15.0+cu130."""
    return ".".join(version.split("+")[0].split(".")[:2])


def newest(python: tuple[int, int] = sys.version_info[:2]) -> str:
    """The newest torch that a Python can install."""
    return NEWEST_OF_OLD_PYTHONS.get(python, SUPPORTED[0])


def find(version: str) -> str:
    """The supported release called ``2.11`` or ``2.11.0``.

    Raises:
        SystemExit: There is none.
    """
    for supported in SUPPORTED:
        if version in (supported, minor(supported)):
            return supported
    raise SystemExit(f"TORCH must be one of {', '.join(map(minor, SUPPORTED))}, got {version!r}.")


def version_of(libtorch: pathlib.Path) -> str:
    """The version of the torch in a folder, without loading it.

    Raises:
        SystemExit: It is no torch, or not one that the sources are built for.
    """
    header = libtorch / "include/torch/headeronly/version.h"
    if not header.is_file():
        raise SystemExit(f"LIBTORCH must be the folder of a torch with its headers, got {libtorch}: no {header}.")
    parts = dict(re.findall(r"#define TORCH_VERSION_(\w+) (\d+)", header.read_text(encoding="utf-8")))
    version = ".".join(parts[name] for name in ("MAJOR", "MINOR", "PATCH"))
    if not is_supported(version):
        supported = ", ".join(map(minor, SUPPORTED))
        raise SystemExit(f"dsct is built for torch {supported}, but {libtorch} is torch {version}.")
    return version


def is_supported(version: str) -> bool:
    return minor(version) in map(minor, SUPPORTED)


def installed(*options: str) -> pathlib.Path | None:
    """The folder of a supported torch that this interpreter has, seen from outside this process.

    Args:
        options: of the interpreter; ``-I`` looks past the isolation of pip's builds, which hides the torch of the
            environment that it installs into.
    """
    probe = subprocess.run([sys.executable, *options, "-c", _PROBE], capture_output=True, text=True, check=False)
    if probe.returncode:
        return None
    folder = pathlib.Path(probe.stdout.strip())
    try:
        version_of(folder)
    except SystemExit as error:
        print(f"Not taken: {error}", file=sys.stderr)
        return None
    return folder


def row_of(version: str) -> tuple[str, ...]:
    """The supported torches under which a build for one of them loads."""
    return next(row for row in LOADED_ALIKE if minor(version) in map(minor, row))


def requirement(version: str) -> str:
    """What a wheel that was built for this torch requires: torch>=2.13,<2.16."""
    row = row_of(version)
    major, last = minor(row[0]).split(".")
    return f"torch>={minor(row[-1])},<{major}.{int(last) + 1}"


def label(version: str) -> str:
    """What the version of such a wheel says of its torch: torch2.13to2.15."""
    row = row_of(version)
    return f"torch{minor(row[0])}" if len(row) == 1 else f"torch{minor(row[-1])}to{minor(row[0])}"


def copy_sources(version: str, folder: pathlib.Path) -> None:
    """Replaces ``folder`` by a copy of the sources whose requirement and version name the torches of one build."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Both keep the times of change, by which cargo knows what it has built already.
    for path in (path for pattern in FILES for path in ROOT.glob(pattern)):
        shutil.copy2(path, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "*.library", "__pycache__"))
    _edit(folder / "pyproject.toml", r'"torch>=[^"]*"', f'"{requirement(version)}"')
    _edit(folder / "Cargo.toml", r'^(version = "[^"+]+)[^"]*"', rf'\g<1>+{label(version)}"')


def _edit(path: pathlib.Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise SystemExit(f"{path} must have one line like {pattern}, it has {count}.")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    print(find(sys.argv[1]) if len(sys.argv) > 1 else newest())
