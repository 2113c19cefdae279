"""Builds the wheel for one torch: ``python build_wheel.py [TORCH]``, for example ``python build_wheel.py 2.11``.

The extension loads only under the torch that it was built for, so there is one wheel per torch, which says so in its
requirements and in its version (0.1.0+torch2.11). The sources are the same for all: a copy of them below ``target/``
gets the pins of that torch, and the tree stays as it is.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent
FILES = ("Cargo.toml", "Cargo.lock", "pyproject.toml", "build.rs", "build_backend.py", "README.md", "LICENSE*")
FOLDERS = ("src", "cuda", "python")


class Torch(NamedTuple):
    """A version of torch, and the versions of torchvision and of tch (torch-sys likewise) that go with it."""

    torch: str
    torchvision: str
    tch: str

    @property
    def label(self) -> str:
        """As it stands in the wheel's version: torch2.11."""
        return "torch" + self.torch.rpartition(".")[0]


# Every torch that the sources are built and tested for. The first is the one that pyproject.toml and Cargo.lock pin.
SUPPORTED = (
    Torch("2.13.0", torchvision="0.28.0", tch="0.26.0"),
    Torch("2.11.0", torchvision="0.26.0", tch="0.24.0"),
)


def find(version: str) -> Torch:
    """The supported torch called ``2.11`` or ``2.11.0``.

    Raises:
        SystemExit: There is none.
    """
    for torch in SUPPORTED:
        if version in (torch.torch, torch.label.removeprefix("torch")):
            return torch
    supported = ", ".join(torch.torch for torch in SUPPORTED)
    raise SystemExit(f"TORCH must be one of {supported}, got {version!r}.")


def copy_sources(torch: Torch, folder: pathlib.Path) -> None:
    """Replaces ``folder`` by a copy of the sources with the pins and the version label of ``torch``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Both keep the times of change, by which cargo knows what it has built already.
    for path in (path for pattern in FILES for path in ROOT.glob(pattern)):
        shutil.copy2(path, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    _edit(folder / "pyproject.toml", r'"torch==[\d.]+"', f'"torch=={torch.torch}"')
    _edit(folder / "pyproject.toml", r'"torchvision==[\d.]+"', f'"torchvision=={torch.torchvision}"')
    _edit(folder / "Cargo.toml", r'^(version = "[^"]+)"', rf'\g<1>+{torch.label}"')
    _edit(folder / "Cargo.toml", r'^((?:tch|torch-sys) = .*version = )"[^"]+"', rf'\g<1>"={torch.tch}"')


def _edit(path: pathlib.Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"{path} has no line like {pattern}.")
    path.write_text(text, encoding="utf-8")


def find_libtorch(torch: Torch, folder: pathlib.Path) -> pathlib.Path:
    """The folder of that torch: of this interpreter if it has it, otherwise from PyPI, kept in ``folder``."""
    installed = {found.version.split("+")[0]: found for found in importlib.metadata.distributions(name="torch")}
    if torch.torch in installed:
        return pathlib.Path(str(installed[torch.torch].locate_file("torch"))).resolve()
    if not folder.exists():
        # A build needs torch's own files alone, not the gigabytes of CUDA libraries that it runs with.
        unfinished = folder.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        pip("install", "--no-deps", "--target", unfinished, f"torch=={torch.torch}")
        unfinished.rename(folder)
    return folder / "torch"


def pip(*arguments: object, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)


def main(arguments: list[str]) -> None:
    torch = find(arguments[0]) if arguments else SUPPORTED[0]
    work = ROOT / "target" / "wheel" / torch.label
    copy_sources(torch, work / "sources")
    libtorch = find_libtorch(torch, work / "libtorch")
    pip(
        *("wheel", "--no-deps", "--wheel-dir", ROOT / "dist", work / "sources"),
        LIBTORCH=str(libtorch),
        CARGO_TARGET_DIR=str(work / "build"),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
