"""MATLAB files, read in a process of their own: a damaged one can end the process in which SciPy reads it.

A small one can expand to gigabytes, so that process may take only so much memory, and hand back only so much.

This file is that process's program, too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Seconds; EMOTIC's file, the largest there is, takes a few.
LIMIT = 600.0
#: Bytes that the process may take beside the content of the file.
MOST_MEMORY = 4 * 10**9
#: Bytes that it may hand back; small arrays take several times as much in memory.
MOST_HANDED_BACK = 4 * 10**8
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
        ValueError: the file is of another kind or damaged, has no such variable, or a variable of more than
            `MOST_HANDED_BACK`, or reading it takes more than `MOST_MEMORY`.
    """
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("reading Annotations.mat needs SciPy, which is not installed: pip install scipy")
    command = [sys.executable, str(PROGRAM), name, str(MOST_MEMORY), str(MOST_HANDED_BACK)]
    # Threads that nothing needs here would take memory, too, one for each processor.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        run = subprocess.run(command, input=content, capture_output=True, timeout=LIMIT, check=False, env=env)
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


def _read(name: str, most_memory: int) -> tuple[str, Any]:
    """An error, or else the value."""
    from scipy.io import loadmat

    file = io.BytesIO(sys.stdin.buffer.read())
    _limit_memory(most_memory + file.getbuffer().nbytes)
    try:
        content = loadmat(file, variable_names=[name])
    except NotImplementedError:
        return "MATLAB 7.3 files are not read; save it in MATLAB with '-v7'", None
    except MemoryError:
        return _too_large(most_memory), None
    except Exception as error:  # SciPy raises many types for damaged files
        return f"not a MATLAB 5 file: {error}", None
    return ("", content[name]) if name in content else (f"there is no variable {name!r}", None)


def _limit_memory(most: int) -> None:
    """Lets larger allocations fail; where the system does not, what is handed back is bounded nevertheless."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _too_large(most_memory: int) -> str:
    return f"reading it takes more than {most_memory / 1e9:g} GB of memory: it is damaged, or not of EMOTIC"


def _handed_back(name: str, most_memory: int, most: int) -> bytes:
    """What the process says."""
    try:
        said = pickle.dumps(_read(name, most_memory), protocol=5)
    except MemoryError:
        said = pickle.dumps((_too_large(most_memory), None))
    if len(said) > most:
        why = f"{name!r} holds more than {most / 1e9:g} GB: it is damaged, or not of EMOTIC"
        return pickle.dumps((why, None))
    return said


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder has names that others use
    sys.stdout.buffer.write(_handed_back(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
