"""What runs after exporting, beside the native model: ResNet-50, one image of 480 x 640 pixels with a mask, evaluation.

Needs ``pip install dsct[onnx] onnxruntime`` and a C++ compiler; exporting and compiling take most of the time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

import dsct
from dsct.export import save_exported_program, to_aot_inductor, to_onnx

from . import program
from .agreement import require
from .program import Options
from .report import Table, number
from .timing import paired
from .workloads.twins import QUICK, Sizes, full

Forward = Callable[[], Any]
Inputs = tuple[Tensor, Tensor]


def inputs(quick: bool) -> Inputs:
    """Images (1, 3, H, W) and mask (1, H, W) without padding."""
    height, width = (96, 128) if quick else (480, 640)
    return torch.randn(1, 3, height, width), torch.zeros(1, height, width, dtype=torch.bool)


def eager(model: Any, given: Inputs) -> Forward:
    def call() -> list[Tensor]:
        with torch.no_grad():
            output = model(*given)
        return [output["pred_logits"], output["pred_boxes"]]

    return call


def compiled(model: dsct.DSCT, folder: Path, given: Inputs) -> Forward:
    return eager(torch.compile(model, fullgraph=True), given)


def exported(standard: bool) -> Callable[[dsct.DSCT, Path, Inputs], Forward]:
    def load(model: dsct.DSCT, folder: Path, given: Inputs) -> Forward:
        save_exported_program(model, folder / "model.pt2", standard_operators=standard)
        run = torch.export.load(folder / "model.pt2").module()

        def call() -> Any:
            with torch.no_grad():
                return run(*given)

        return call

    return load


def ahead(model: dsct.DSCT, folder: Path, given: Inputs) -> Forward:
    to_aot_inductor(model, folder / "model.pt2")
    run = torch._inductor.aoti_load_package(str(folder / "model.pt2"))
    return lambda: run(*given)


def onnx(model: dsct.DSCT, folder: Path, given: Inputs) -> Forward:
    to_onnx(model, folder / "model.onnx")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(folder / "model.onnx", settings, providers=["CPUExecutionProvider"])
    arrays = dict(zip(("images", "mask"), (tensor.numpy() for tensor in given), strict=True))
    return lambda: [torch.from_numpy(output) for output in session.run(None, arrays)]


FORMS: dict[str, Callable[[dsct.DSCT, Path, Inputs], Forward]] = {
    "torch.compile (Inductor)": compiled,
    "torch.export": exported(standard=False),
    "torch.export, standard operators": exported(standard=True),
    "ONNX Runtime": onnx,
    "AOTInductor": ahead,
}


def measure(options: Options) -> list[Table]:
    """One row per form; the outputs must agree first."""
    table = Table(
        "exported forms against the native model",
        ["form", "file, MB", "ready after, s", "form, ms", "native, ms", "native / form", "quartiles", "pairs"],
        note="Above 1 the form is faster than the native model. Ready: exported or compiled, loaded and run once. "
        f"ONNX Runtime {onnxruntime.__version__}.",
    )
    given = inputs(options.quick)
    model = full(QUICK if options.quick else Sizes()).eval()
    native = eager(model, given)
    reference = native()
    for name, load in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            form = load(model, Path(folder), given)
            first = form()
            ready = time.perf_counter() - start
            size = sum(os.path.getsize(entry) for entry in Path(folder).iterdir())
            require(name, first, reference, (1e-4, 1e-4))
            comparison = paired(form, native, options.budget)
        print(f"{name}: ready after {ready:.0f} s", file=sys.stderr, flush=True)
        table.compare([name, number(size / 1e6) if size else "none", number(ready)], comparison)
    return [table]


if __name__ == "__main__":
    program.run("export", __doc__, measure)
