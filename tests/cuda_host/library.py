"""Compiles the CUDA kernels for the CPU, one library per specialisation, and launches them as `plans.json` says."""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLANS: dict[str, Any] = json.loads((HERE / "plans.json").read_text(encoding="utf-8"))
COMPILER = shutil.which("g++")
MAX_LEVELS = 8
GUARD = 64  # elements on both sides of every tensor

# All that pass.rs names, in its order.
PASSES = (ROOT / "src/ops/deform_attn_cuda/pass.rs").read_text(encoding="utf-8")
PARTS = dict.fromkeys(re.findall(r'include_str!\("(?:\.\./)*(cuda/kernels/[^"]+)"\)', PASSES))
KERNEL_TEXT = "".join((ROOT / part).read_text(encoding="utf-8") for part in PARTS)

POINTERS = (
    "value", "reference", "points", "weights", "grad_out", "out", "grad_value", "grad_points", "grad_weights",
    "fixed_point", "bound",
)  # fmt: skip
LEVEL_NUMBERS = ("height", "width", "start", "window_height", "window_width", "window_start")


class Params(ctypes.Structure):
    """``DeformAttnParams`` of ``cuda/kernels/deform_attn_types.cuh``."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in POINTERS]
        + [("hash", ctypes.c_uint), ("batch", ctypes.c_int), ("cells", ctypes.c_int), ("queries", ctypes.c_int)]
        + [(name, ctypes.c_int * MAX_LEVELS) for name in LEVEL_NUMBERS]
    )


class LaunchError(RuntimeError):
    """What the harness found while a kernel ran."""


class Compiler:
    """g++ with a cache of libraries in ``directory``."""

    def __init__(self, directory: Path) -> None:
        assert COMPILER is not None
        self.directory = directory
        self.runtime = directory / "cuda_host.o"
        self.run(["-c", str(HERE / "cuda_host.cpp"), "-o", str(self.runtime)])

    def run(self, arguments: list[str]) -> None:
        flags = ["-std=c++17", "-O1", "-fno-strict-aliasing", "-fPIC", f"-I{HERE}"]
        done = subprocess.run([str(COMPILER), *flags, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def library(self, defines: list[str], text: str = KERNEL_TEXT) -> ctypes.CDLL:
        name = hashlib.sha256("\n".join([text, *defines]).encode()).hexdigest()[:16]
        path, source = self.directory / f"{name}.so", self.directory / f"{name}.cu"
        if not path.exists():
            source.write_text(text, encoding="utf-8")
            include = f'-DDSCT_KERNEL_TEXT="{source}"'
            files = [str(HERE / "host_library.cpp"), str(self.runtime), "-o", str(path)]
            self.run(["-shared", include, *defines, *files])
        library = ctypes.CDLL(str(path))
        library.cuda_host_error.restype = ctypes.c_char_p
        library.cuda_host_exchanges.restype = library.cuda_host_atomics.restype = ctypes.c_long
        return library

    def layouts(self, defines: list[str]) -> dict[str, dict[str, int]]:
        """Offsets of fields by struct, and the dtype codes: what ``layouts.cpp`` prints."""
        source, program = self.directory / "layouts.cu", self.directory / "layouts"
        source.write_text(KERNEL_TEXT, encoding="utf-8")
        include = f'-DDSCT_KERNEL_TEXT="{source}"'
        self.run([include, *defines, str(HERE / "layouts.cpp"), str(self.runtime), "-o", str(program)])
        lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
        layouts: dict[str, dict[str, int]] = {}
        for struct, field, number in map(str.split, lines):
            layouts.setdefault(struct, {})[field] = int(number)
        return layouts


def launch(library: ctypes.CDLL, params: ctypes.Structure, plan: dict[str, Any], seed: int = -1) -> None:
    """Runs one kernel; a negative seed runs the threads in order, another one in a random order."""
    status = library.cuda_host_launch(
        getattr(library, plan["kernel"]),
        ctypes.byref(params),
        (ctypes.c_uint * 3)(*plan["grid"]),
        ctypes.c_uint(plan["block"]),
        ctypes.c_size_t(plan["shared_bytes"]),
        ctypes.c_int(seed),
    )
    if status != 0:
        raise LaunchError(library.cuda_host_error().decode())


class Guarded:
    """A contiguous tensor between two guards: kernels that read them compute NaN, kernels that write them are found."""

    def __init__(self, content: Tensor) -> None:
        self.filler = float("nan") if content.is_floating_point() else 0x5A5A
        self.storage = torch.full((content.numel() + 2 * GUARD,), self.filler, dtype=content.dtype)
        self.tensor = self.storage[GUARD:-GUARD].view(content.shape)
        self.tensor.copy_(content)

    def check(self, name: str) -> None:
        guards = torch.cat([self.storage[:GUARD], self.storage[-GUARD:]])
        untouched = guards.isnan() if guards.is_floating_point() else guards == self.filler
        if not untouched.all():
            raise LaunchError(f"a kernel wrote outside {name}")


def make_params(case: dict[str, Any], plan: dict[str, Any], tensors: dict[str, Guarded]) -> Params:
    """Parameters of one launch; tensors that are not given are null."""
    call, params = case["call"], Params()
    for name, guarded in tensors.items():
        setattr(params, name, guarded.tensor.data_ptr())
    levels = call["levels"]
    params.hash, params.batch, params.queries = case["hash"], call["b"], call["q"]
    params.cells = sum(h * w for h, w in levels)
    for i, (h, w) in enumerate(levels):
        params.height[i], params.width[i] = h, w
        params.start[i] = sum(h * w for h, w in levels[:i])
    params.window_height[:], params.window_width[:], params.window_start[:] = plan["windows"]
    return params
