"""The program that makes the table of runtimes: a failure is a row, never the end of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.export.runtimes import __main__ as program
from tests.export.runtimes.environments import PROGRAMS, Failure, Runtime, command, output_of
from tests.export.runtimes.subjects import differences

ENDINGS = {
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "crashes (SIGKILL)",
    "raise ValueError('no such | operator')": "ValueError: no such / operator",
    "import sys; sys.exit('cannot')": "cannot",
}


@pytest.mark.parametrize(("code", "words"), ENDINGS.items())
def test_every_bad_end_has_its_words(code: str, words: str) -> None:
    with pytest.raises(Failure) as raised:
        output_of([sys.executable, "-c", code])
    assert str(raised.value) == words


def test_a_missing_tool_is_said() -> None:
    with pytest.raises(Failure, match="not tried: no npx-that-is-not-here here"):
        output_of(["npx-that-is-not-here"])


def test_a_failure_is_a_row_and_the_program_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program of the row ends without an answer: the folder holds no model."""
    runtime = Runtime("native", "native.py", (), (("free", "float32"), ("fixed", "float32")))
    assert program.rows_of(runtime, tmp_path, 0.5) == 0.5
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[2:4] for row in rows] == [["free", "float32"], ["fixed", "float32"]]
    assert all(row.count("|") == len(program.HEAD) + 1 for row in rows)
    assert all("Error" in row for row in rows)


def test_every_row_has_its_program() -> None:
    for runtime in program.RUNTIMES:
        assert (PROGRAMS / runtime.program).is_file()
        assert all("==" in name or "@" in name or name == "numpy" for name in runtime.packages)


def test_a_program_without_packages_runs_here(tmp_path: Path) -> None:
    runtime = Runtime("native", "native.py", (), ())
    assert command(runtime, tmp_path) == [sys.executable, str(PROGRAMS / "native.py")]


def test_differences_are_the_largest_of_all_inputs(tmp_path: Path) -> None:
    logits, boxes = np.zeros((1, 2, 3)), np.full((1, 2, 4), 0.5)
    for name, off in (("0", 0.25), ("1", 0.125)):
        np.savez(tmp_path / f"{name}.npz", logits=logits, boxes=boxes)
        logits.astype(np.float32).tofile(tmp_path / f"{name}.logits")
        (boxes + off).astype(np.float32).tofile(tmp_path / f"{name}.boxes")
    assert differences(tmp_path, tmp_path) == (0.0, 0.25)
    np.full((1, 2, 3), np.nan, dtype=np.float32).tofile(tmp_path / "1.logits")
    assert np.isnan(differences(tmp_path, tmp_path)[0])
    with pytest.raises(ValueError, match="must hold an answer"):
        differences(tmp_path, tmp_path / "empty")


def test_a_row_has_the_numbers_of_its_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = Runtime("echo", "", (), ())
    np.savez(tmp_path / "0.npz", logits=np.zeros((1, 1, 1)), boxes=np.zeros((1, 1, 4)))
    code = f"""
import pathlib, sys
out = pathlib.Path(sys.argv[2])
(out / "0.logits").write_bytes(bytes(4))
(out / "0.boxes").write_bytes(bytes(16))
print("a warning")
print('{json.dumps({"version": "1.2", "seconds": 0.25})}')
"""
    assert program.row_of(runtime, [sys.executable, "-c", code], tmp_path, ("free", "float32"), 0.5) == 0.5
    assert capsys.readouterr().out == "| echo | 1.2 | free | float32 | 0e+00 | 0e+00 | 250 ms | 2.00 |\n"
