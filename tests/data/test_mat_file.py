"""MATLAB files are read by another process, whose end is one sentence here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

import dsct.data.mat_file as mat_file
from dsct.data.mat_file import read_variable


def variable(path: Path, name: str) -> Any:
    return read_variable(path.read_bytes(), name, path)


def test_a_variable(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"val": np.arange(6.0).reshape(2, 3), "names": np.array(["one", "two"], dtype=object)})
    assert np.array_equal(variable(tmp_path / "a.mat", "val"), np.arange(6.0).reshape(2, 3))
    assert [str(name.item()) for name in variable(tmp_path / "a.mat", "names").ravel()] == ["one", "two"]


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"val": 1.0})
    (tmp_path / "text.mat").write_text("no MATLAB file at all")
    with pytest.raises(ValueError, match=r"a\.mat: there is no variable 'train'"):
        variable(tmp_path / "a.mat", "train")
    with pytest.raises(ValueError, match=r"text\.mat: not a MATLAB 5 file: "):
        variable(tmp_path / "text.mat", "val")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"SciPy's reader was ended by it \(SIGSEGV\)"),
        ("raise MemoryError('too large')", "SciPy's reader has failed: MemoryError: too large"),
        ("import time; time.sleep(60)", "SciPy has not read it after 0.5 seconds"),
    ],
    ids=["crashes", "fails", "hangs"],
)
def test_a_reader_that_does_not_come_back(
    program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savemat(tmp_path / "a.mat", {"val": 1.0})
    (tmp_path / "reader.py").write_text(program)
    monkeypatch.setattr(mat_file, "PROGRAM", tmp_path / "reader.py")
    monkeypatch.setattr(mat_file, "LIMIT", 0.5 if "sleep" in program else 60.0)
    with pytest.raises(ValueError, match=rf"a\.mat: .*{message}"):
        variable(tmp_path / "a.mat", "val")
