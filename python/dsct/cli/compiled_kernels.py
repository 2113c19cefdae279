"""``dsct info --compile``: what the compiler makes of the CUDA kernels, without a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import dsct._dsct as _dsct
from dsct.runtime import DTYPES

SIZES = (8, 32, 4, 4)  # M, D, L, P of DSCT and of Deformable DETR


class Compiled(NamedTuple):
    """One kernel for one dtype and architecture: the largest numbers of its specialisations."""

    registers: int
    local_bytes: int
    shared_bytes: int
    cubin_bytes: int


def architectures(text: str) -> list[int]:
    """``"80,90"`` as numbers.

    Raises:
        ValueError: the text is not a list of numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--compile must list compute capabilities such as 80,90,100, got {text!r}") from None


def compile_kernels(architecture: int, dtype: torch.dtype) -> dict[str, Compiled]:
    """Compiles every common specialisation of a dtype; the numbers of each kernel by its name."""
    found: dict[str, Compiled] = {}
    for _, cubin_bytes, kernels in _dsct.cuda_reports(architecture, DTYPES[dtype], SIZES):
        for name, registers, local_bytes, shared_bytes in kernels:
            one = Compiled(registers, local_bytes, shared_bytes, cubin_bytes)
            found[name] = Compiled(*map(max, one, found.get(name, one)))
    return found


def compile_all(jobs: list[tuple[int, torch.dtype]]) -> Iterator[Future[dict[str, Compiled]]]:
    """The result of each job, in order, on all cores: the compiler runs without the GIL."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from [pool.submit(compile_kernels, *job) for job in jobs]
    finally:
        pool.shutdown(cancel_futures=True)


def empty_table() -> Table:
    table = Table()
    for title in ("for", "dtype", "deform_attn_…"):
        table.add_column(title, no_wrap=True)
    for title in Compiled._fields:
        table.add_column(title.replace("_", " "), justify="right")
    return table


def show_compiled_kernels(text: str) -> bool:
    """Prints a table and returns whether everything compiles and no kernel spills.

    Raises:
        ValueError: the text is not a list of compute capabilities that this NVRTC supports.
    """
    table = empty_table()
    jobs = [(architecture, dtype) for architecture in architectures(text) for dtype in DTYPES]
    failures = []
    done = track(compile_all(jobs), "compiling", len(jobs), console=Console(stderr=True), transient=True)
    for (architecture, dtype), found in zip(jobs, done, strict=True):
        name = f"sm_{architecture}", str(dtype).removeprefix("torch.")
        try:
            kernels = found.result()
        except _dsct.DsctError as error:
            failures.append(f"{' '.join(name)}: {error}")
            continue
        for kernel, numbers in kernels.items():
            if numbers.local_bytes:
                failures.append(f"{' '.join(name)}: {kernel} spills {numbers.local_bytes} bytes")
            short = kernel.removeprefix("deform_attn_")
            table.add_row(*name, short, *map(str, numbers), style="red" if numbers.local_bytes else None)
    console = Console()
    console.print(table, highlight=False)
    console.print("M = {}, D = {}, L = {}, P = {}; local bytes are registers that did not fit.".format(*SIZES))
    for failure in failures:
        console.print(failure, style="red", markup=False)
    return not failures
