"""PEP 517 backend: maturin, after finding the torch that the extension is to be built for.

Pip builds in an isolated environment that hides the torch of the target environment, and an extension built against
another torch would not load. So this asks the interpreter itself, past the isolation, and hands its answer to the
native build in the environment variable LIBTORCH.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import maturin
from maturin import *  # noqa: F403  (the hooks that are not overridden below)

_PYPROJECT = pathlib.Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8")
TORCH_PINS = re.findall(r'"(torch(?:vision)?==[\d.]+)"', _PYPROJECT)
TORCH_VERSION = TORCH_PINS[0].split("==")[1]
_PROBE = "import torch, pathlib; print(torch.__version__); print(pathlib.Path(torch.__file__).parent)"


def _find_torch() -> None:
    if "LIBTORCH" in os.environ:
        return
    # -I ignores PYTHONPATH, through which pip isolates the build.
    probe = subprocess.run([sys.executable, "-I", "-c", _PROBE], capture_output=True, text=True, check=False)
    found, *rest = probe.stdout.splitlines() or ["none"]
    if found.split("+")[0] != TORCH_VERSION:
        raise SystemExit(
            f"dsct is built against torch {TORCH_VERSION}, but the environment of {sys.executable} has torch {found}: "
            f"run `pip install {' '.join(TORCH_PINS)}` there first, or see build_wheel.py for another torch."
        )
    os.environ["LIBTORCH"] = rest[0]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):  # type: ignore[no-untyped-def]
    _find_torch()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):  # type: ignore[no-untyped-def]
    _find_torch()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
