"""MATLAB files are read by another process, whose end is one sentence here."""

from __future__ import annotations

import resource
import struct
import zlib
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


def zeros(path: Path, size: int) -> Path:
    """A file of some kilobytes, in which ``val`` is `size` zeros of one byte."""
    flags = struct.pack("<4I", 6, 8, 9, 0)  # a matrix of uint8
    shape, name = struct.pack("<2I2i", 5, 8, size, 1), struct.pack("<2I8s", 1, 3, b"val")
    inside = flags + shape + name + struct.pack("<2I", 2, size)
    stream = zlib.compressobj()
    element = stream.compress(struct.pack("<2I", 14, len(inside) + size) + inside)
    for start in range(0, size, 2**20):
        element += stream.compress(bytes(min(2**20, size - start)))
    element += stream.flush()
    path.write_bytes(
        b"MATLAB 5.0".ljust(124) + struct.pack("<H2s", 256, b"IM") + struct.pack("<2I", 15, len(element)) + element
    )
    return path


def test_an_element_that_expands_to_more_than_the_memory_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zeros(tmp_path / "a.mat", 400 * 10**6)
    assert path.stat().st_size < 500_000
    monkeypatch.setattr(mat_file, "MOST_MEMORY", 300 * 10**6)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ValueError, match=r"a\.mat: reading it takes more than 0\.3 GB of memory: it is damaged, or not"
    ):
        variable(path, "val")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken < 100_000  # KiB


def test_what_is_handed_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zeros(tmp_path / "a.mat", 5_000_000)
    assert variable(path, "val").shape == (5_000_000, 1)
    monkeypatch.setattr(mat_file, "MOST_HANDED_BACK", 4_000_000)
    with pytest.raises(ValueError, match=r"a\.mat: 'val' holds more than 0\.004 GB: it is damaged, or not of EMOTIC"):
        variable(path, "val")
