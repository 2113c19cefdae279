"""One environment per runtime, made for the row and removed after it, so that no two packages meet."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).with_name("programs")
LIMIT = 900  # seconds for one command

Command = list[str]


class Runtime(NamedTuple):
    """Attributes: name; program in `programs/`; pinned packages; (form, precision) of each row."""

    name: str
    program: str
    packages: tuple[str, ...]
    rows: Sequence[tuple[str, str]]


class Failure(Exception):
    """What a row says instead of numbers."""


def command(runtime: Runtime, folder: Path) -> Command:
    """The start of a command line that runs the program, in an environment inside `folder`.

    Raises:
        Failure: the packages cannot be installed.
    """
    if runtime.program.endswith(".mjs"):
        return _node(runtime, folder)
    if runtime.program.endswith(".rs"):
        return _cargo(runtime, folder)
    if runtime.packages:
        return _python(runtime, folder)
    return [sys.executable, str(PROGRAMS / runtime.program)]


def output_of(words: Sequence[str], folder: Path | None = None) -> str:
    """Standard output of a command that succeeds.

    Raises:
        Failure: it does not; the text is what a table has room for.
    """
    # Tools may call the first pip of the path, which must not be that of the environment that dsct is developed in.
    path = f"{Path(words[0]).parent}:{os.environ['PATH']}" if os.sep in words[0] else os.environ["PATH"]
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"not ready after {LIMIT // 60} minutes") from error
    except FileNotFoundError as error:
        raise Failure(f"not tried: no {words[0]} here") from error
    if done.returncode < 0:
        raise Failure(f"crashes ({signal.Signals(-done.returncode).name})")
    if done.returncode:
        raise Failure(_reason(done.stderr))
    return done.stdout


def _reason(text: str) -> str:
    """The line of the last exception."""
    lines = re.findall(r"^[\w.]*(?:Error|Fail|Exception|InvalidArgument)[\w.]*:.*$", text, flags=re.MULTILINE)
    return str(lines[-1] if lines else text.strip()[-120:]).replace("|", "/")[:120]


def _python(runtime: Runtime, folder: Path) -> Command:
    output_of([sys.executable, "-m", "venv", str(folder / "venv")])
    python = folder / "venv/bin/python"
    if any(name.startswith(("litert-torch", "executorch")) for name in runtime.packages):  # torch is large
        site = next((folder / "venv/lib").glob("python*/site-packages"))
        (site / "torch.pth").write_text(sysconfig.get_path("purelib"))
    output_of([str(python), "-m", "pip", "install", "--quiet", *runtime.packages])
    return [str(python), str(PROGRAMS / runtime.program)]


def _node(runtime: Runtime, folder: Path) -> Command:
    shutil.copytree((PROGRAMS / runtime.program).parent, folder / "web")
    output_of(["npm", "install", "--silent", "--no-save", *runtime.packages], folder / "web")
    return ["node", str(folder / "web" / Path(runtime.program).name)]


def _cargo(runtime: Runtime, folder: Path) -> Command:
    root = PROGRAMS / Path(runtime.program).parts[0]
    shutil.copytree(root, folder / root.name)
    output_of(["cargo", "build", "--quiet", "--release", "--target-dir", str(folder / "target")], folder / root.name)
    return [str(folder / "target/release" / f"{root.name}_case")]
