"""A small program of a user runs, and the strict type checker finds nothing in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dsct

PROGRAM = Path(__file__).with_name("user_program.py")


def test_the_program_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "error", str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "best epoch 1" in done.stdout
    assert "[(48, 48), (64, 48)]" in done.stdout
    assert "hidden_dim" in done.stdout
    assert "spatial_shapes" in done.stdout
    assert "no weights file at no such file.safetensors" in done.stdout


@pytest.mark.slow
def test_the_strict_type_checker_finds_nothing(tmp_path: Path) -> None:
    """As a user runs it: without this project's settings."""
    pytest.importorskip("mypy")
    package = Path(dsct.__file__).parent
    assert (package / "py.typed").exists(), "type checkers ignore the annotations of a package without it"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(PROGRAM)]
    environment = {**os.environ, "MYPYPATH": str(package.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
