"""Builds the wheel for one torch into dist: ``python build_wheel.py 2.11``; those for every torch with ``all``.

The sources are the same for all. A build may load under others, too, which its wheel requires and names in its version
(0.1.0+torch2.13to2.15), see build_backend.py.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import time

from build_torch import LOADED_ALIKE, ROOT, find, installed, label, minor, newest, version_of


def find_libtorch(version: str, folder: pathlib.Path) -> pathlib.Path:
    """The folder of that torch: of this interpreter if it has it, otherwise from PyPI, kept in ``folder``."""
    here = installed()
    if here is not None and version_of(here) == version:
        return here
    if not folder.exists():
        # A build needs torch's own files alone, not the gigabytes of CUDA libraries that it runs with.
        unfinished = folder.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        pip("install", "--no-deps", "--target", unfinished, f"torch=={version}")
        unfinished.rename(folder)
    return folder / "torch"


def pip(*arguments: object, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)


def build(version: str) -> None:
    """Builds one wheel; says how long that took."""
    libtorch = find_libtorch(version, ROOT / "target" / f"torch{minor(version)}" / "libtorch")
    begin = time.monotonic()
    pip("wheel", "--no-deps", "--wheel-dir", ROOT / "dist", ROOT, LIBTORCH=str(libtorch))
    for wheel in (ROOT / "dist").glob(f"dsct-*{label(version)}*.whl"):
        minutes, megabytes = (time.monotonic() - begin) / 60, wheel.stat().st_size / 1e6
        print(f"{wheel.name}: {megabytes:.1f} MB, built in {minutes:.1f} minutes")


def main(arguments: list[str]) -> None:
    chosen = arguments or [newest()]
    for version in [row[0] for row in LOADED_ALIKE] if chosen == ["all"] else map(find, chosen):
        build(version)


if __name__ == "__main__":
    main(sys.argv[1:])
