"""The table of runtimes in ``docs/how-to/export.md``.

``python -m tests.export.runtimes``, for a part ``--model shipped --only MNN``. It needs the network and up to an hour.
A runtime that fails is a row that says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from .environments import Command, Failure, Runtime, command, output_of
from .subjects import MODELS, differences, write_files, write_inputs

FREE, FIXED = (("free", "float32"),), (("fixed", "float32"),)
ONNX = ("onnx==1.23.2", "sympy==1.14.0")
RUNTIMES = (
    Runtime("native", "native.py", (), (*FREE, ("free", "bfloat16"))),
    Runtime("`torch.export`", "torch_export.py", (), (*FREE, *FIXED, ("free", "bfloat16"), ("free", "float16"),
                                                     ("free", "standard operators"))),
    Runtime("AOTInductor", "aot_inductor.py", (), (*FREE, *FIXED)),
    Runtime("ONNX Runtime", "onnx_runtime.py", ("onnxruntime==1.32.0", *ONNX),
            (*FREE, *FIXED, ("free", "float16"), ("free", "int8"))),
    Runtime("OpenVINO", "open_vino.py", ("openvino==2026.4.1",),
            (*FREE, *FIXED, ("free", "bfloat16"), ("free", "float16"))),
    Runtime("OpenVINO", "open_vino.py", ("openvino==2025.4.1",), (*FREE, *FIXED)),
    Runtime("ort-web", "web/main.mjs", ("onnxruntime-web@1.30.0",), (*FREE, *FIXED)),
    Runtime("rten", "rten/src/main.rs", (), (*FREE, *FIXED)),
    Runtime("tract", "tract_onnx.py", ("tract==0.23.9", "numpy"), (*FREE, *FIXED)),
    Runtime("MNN", "mnn_onnx.py", ("MNN==3.6.1", "numpy"), (*FREE, *FIXED)),
    Runtime("LiteRT", "lite_rt.py", ("litert-torch==0.10.0",), FIXED),
    Runtime("ExecuTorch, XNNPACK", "execu_torch.py", ("executorch==1.5.1",), (*FREE, *FIXED)),
)  # fmt: skip
HEAD = ("runtime", "version", "sizes", "type", "scores differ by", "boxes differ by", "latency", "native / form")


def main() -> None:
    """Prints one table per model, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, action="append", help="by default all")
    parser.add_argument("--only", action="append", help="names of runtimes; by default all")
    options = parser.parse_args()
    for name in options.model or MODELS:
        with tempfile.TemporaryDirectory() as place:
            build, sizes = MODELS[name]
            folder, model = Path(place), build()
            write_inputs(model, sizes, folder)
            write_files(model, sizes, folder)
            del model
            batch, height, width = sizes[0]
            today = datetime.date.today().isoformat()
            print(f"{name}, {batch} x {height} x {width} ({os.cpu_count()} processors, {today}):\n")
            print(*(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * 4 + ["---:"] * 4)), sep="\n", flush=True)
            native = None
            for runtime in RUNTIMES:
                if options.only and runtime.name not in options.only and runtime.name != "native":
                    continue
                native = rows_of(runtime, folder, native)
            print(flush=True)


def rows_of(runtime: Runtime, folder: Path, native: float | None) -> float | None:
    """Prints the rows of one runtime; returns the seconds of the native model once they are known."""
    with tempfile.TemporaryDirectory() as place:
        try:
            words = command(runtime, Path(place))
        except Failure as failure:
            print_row([runtime.name, _pinned(runtime), "", "", f"cannot be installed: {failure}"])
            return native
        for form, precision in runtime.rows:
            native = row_of(runtime, words, folder, (form, precision), native)
    return native


def row_of(runtime: Runtime, words: Command, folder: Path, form: tuple[str, str], native: float | None) -> float | None:
    """Prints one row."""
    with tempfile.TemporaryDirectory() as out:
        try:
            printed = output_of([*words, str(folder), out, *form])
            result = json.loads(next(line for line in reversed(printed.splitlines()) if line.startswith("{")))
            scores, boxes = differences(folder, Path(out))
        except Failure as failure:
            print_row([runtime.name, _pinned(runtime), *form, str(failure)])
            return native
    seconds = result["seconds"]
    native = seconds if native is None else native
    numbers = [f"{scores:.0e}", f"{boxes:.0e}", f"{1000 * seconds:.0f} ms", f"{native / seconds:.2f}"]
    print_row([runtime.name, result["version"], *form, *numbers])
    return native


def print_row(cells: list[str]) -> None:
    """A failure fills the columns of numbers with one text."""
    print(f"| {' | '.join([*cells, *[''] * (len(HEAD) - len(cells))])} |", flush=True)


def _pinned(runtime: Runtime) -> str:
    first = runtime.packages[0] if runtime.packages else ""
    return first.replace("@", "==").partition("==")[2] or torch.__version__.partition("+")[0]


if __name__ == "__main__":
    sys.exit(main())
