"""MATLAB files, read in a process of their own: a damaged one can end the process in which SciPy reads it.

This file is that process's program, too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Seconds; EMOTIC's file, the largest there is, takes a few.
LIMIT = 600.0
PROGRAM = Path(__file__)


def read_variable(content: bytes, name: str, path: Path) -> Any:
    """One variable of a MATLAB file.

    Args:
        content: of a file of MATLAB 5 to 7.
        name: of the variable.
        path: of the file, for messages.

    Returns:
        What SciPy's ``loadmat`` makes of it.

    Raises:
        ImportError: SciPy is missing.
        ValueError: the file is of another kind or damaged, or has no such variable.
    """
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("reading Annotations.mat needs SciPy, which is not installed: pip install scipy")
    command = [sys.executable, str(PROGRAM), name]
    try:
        run = subprocess.run(command, input=content, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path}: SciPy has not read it after {LIMIT:g} seconds: it is damaged") from error
    if run.returncode < 0:
        ended = signal.Signals(-run.returncode).name
        raise ValueError(f"{path}: it is damaged: SciPy's reader was ended by it ({ended})")
    if run.returncode:
        lines = run.stderr.decode(errors="replace").splitlines() or ["no reason"]
        raise ValueError(f"{path}: SciPy's reader has failed: {lines[-1]}")
    said, value = pickle.loads(run.stdout)
    if said:
        raise ValueError(f"{path}: {said}")
    return value


def _read(name: str) -> tuple[str, Any]:
    """An error, or else the value."""
    from scipy.io import loadmat

    try:
        content = loadmat(io.BytesIO(sys.stdin.buffer.read()), variable_names=[name])
    except NotImplementedError:
        return "MATLAB 7.3 files are not read; save it in MATLAB with '-v7'", None
    except Exception as error:  # SciPy raises many types for damaged files
        return f"not a MATLAB 5 file: {error}", None
    return ("", content[name]) if name in content else (f"there is no variable {name!r}", None)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder has names that others use
    pickle.dump(_read(*sys.argv[1:]), sys.stdout.buffer, protocol=5)
