"""Starts a program in two processes that train together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def launch(program: str, *arguments: str | Path, code: int = 0, timeout: float = 240) -> str:
    """What two processes print, in one start of torchrun on a port of its own choice.

    Raises:
        AssertionError: it ended with another code.
        subprocess.TimeoutExpired: it hangs; all its processes are gone then.
    """
    paths = filter(None, [os.environ.get("PYTHONPATH")])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.Popen(
        [*torchrun, program, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *paths])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = run.communicate(timeout=timeout)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
    assert run.returncode == code, output
    return output
