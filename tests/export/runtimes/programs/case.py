"""What every program reads and writes: a folder of raw little-endian arrays, so that one in any language can.

``inputs.txt`` has one line ``NAME BATCH HEIGHT WIDTH`` per input; beside it are ``NAME.images`` (float32) and
``NAME.mask`` (uint8). A program writes ``NAME.logits`` and ``NAME.boxes`` (float32) into its own folder, and prints the
quickest seconds of the first input as its last line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = Sequence[np.ndarray]
SECONDS = 4.0  # of measuring


class Case(NamedTuple):
    """Arguments of a program."""

    folder: Path  # model and inputs
    out: Path
    form: str  # "free" or "fixed" sizes
    precision: str
    seconds: float  # of measuring

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / f"{self.form}.onnx"

    def inputs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Images and mask by name; a file of fixed sizes takes only the first."""
        lines = (self.folder / "inputs.txt").read_text().splitlines()
        found = {}
        for line in lines[: None if self.form == "free" else 1]:
            name, *sizes = line.split()
            batch, height, width = map(int, sizes)
            images = np.fromfile(self.folder / f"{name}.images", dtype=np.float32).reshape(batch, 3, height, width)
            mask = np.fromfile(self.folder / f"{name}.mask", dtype=np.uint8).reshape(batch, height, width)
            found[name] = images, mask.astype(bool)
        return found


def arguments() -> Case:
    """From the command line."""
    folder, out, form, precision, *seconds = sys.argv[1:]
    return Case(Path(folder), Path(out), form, precision, float(seconds[0]) if seconds else SECONDS)


def run(case: Case, forward: Callable[[np.ndarray, np.ndarray], Arrays], version: str, note: str = "") -> None:
    """Writes logits and boxes of every input, then measures the first input."""
    inputs = case.inputs()
    for name, (images, mask) in inputs.items():
        for kind, array in zip(("logits", "boxes"), forward(images, mask), strict=True):
            np.asarray(array, dtype=np.float32).tofile(case.out / f"{name}.{kind}")
    first: Any = next(iter(inputs.values()))
    quickest, end = float("inf"), time.perf_counter() + case.seconds
    while time.perf_counter() < end or quickest == float("inf"):
        start = time.perf_counter()
        forward(*first)
        quickest = min(quickest, time.perf_counter() - start)
    print(json.dumps({"version": version, "seconds": quickest, "note": note}))
