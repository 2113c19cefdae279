"""Starts `signalled_run`, signals all its processes while it halts, and goes on with its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from typer.testing import CliRunner

from dsct.cli import app
from tests.train.run_folder import signalled_run

ROOT = Path(__file__).parents[3]


def signalled(
    moment: str, run_dir: Path, numbers: Sequence[signal.Signals], method: str = "fork", pause: float = 0.1
) -> tuple[int, str]:
    """Exit code and output of a training of two loading processes in `run_dir`, signalled while it halts.

    After each signal it goes on for `pause` seconds.

    Raises:
        subprocess.TimeoutExpired: it hangs; all its processes are gone then.
    """
    mark = run_dir.with_name(f"{run_dir.name}.halted")
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    changes = {
        "HALT_AT": moment,
        "MARK": str(mark),
        "START_METHOD": method,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    run = subprocess.Popen(
        [sys.executable, "-m", signalled_run.__name__, "--run-dir", str(run_dir)],
        env={**os.environ, "PYTHONPATH": paths, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 100
        while not mark.exists() and run.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        for number in numbers:
            os.killpg(run.pid, number)
            time.sleep(pause)
        output, _ = run.communicate(timeout=100)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
    return run.returncode, output


def go_on(run_dir: Path, *options: str, code: int = 0) -> str:
    """What the same command prints in this process, undisturbed."""
    arguments = [*signalled_run.RUN, "--run-dir", str(run_dir), "--set", "workers=0", *options]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output
