"""Standard output and error that cannot be written: no training ends by it, and other commands name the stream."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.train.run_folder.signalled_run import RUN

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def dsct(*arguments: object, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dsct", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, text=True, timeout=300, check=False, **streams)  # type: ignore


@pytest.mark.parametrize("kind", ["pipe", pytest.param("full", marks=needs_full)])
def test_a_training_without_readers_goes_on(kind: str, tmp_path: Path) -> None:
    if kind == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(FULL, os.O_WRONLY)
    few = ["--set", "epochs=1", "--set", "workers=0", "--set", "log_every=1"]
    run = dsct(*RUN, *few, "--run-dir", tmp_path, stdout=writer, stderr=writer)
    os.close(writer)
    assert run.returncode == 0
    assert {"last.pt", "best.safetensors", "curves.png"} <= {path.name for path in tmp_path.iterdir()}


@needs_full
def test_a_full_standard_output_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    for options in ((), ("--json",)):
        with FULL.open("w") as full:
            run = dsct("predict", tmp_path / "a.png", *options, stdout=full, stderr=subprocess.PIPE)
        assert run.returncode == 1, run.stderr
        last = run.stderr.splitlines()[-1]
        assert last == "error: [Errno 28] No space left on device: 'stdout'", run.stderr
    with FULL.open("w") as full:
        run = dsct("info", stdout=full, stderr=subprocess.PIPE)
    assert (run.returncode, run.stderr.count("'stdout'"), "Traceback" in run.stderr) == (1, 1, False), run.stderr


@needs_full
def test_a_full_standard_error_keeps_the_exit_code(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        run = dsct("predict", tmp_path / "absent.png", stdout=subprocess.PIPE, stderr=full)
    assert run.returncode == 1
