"""``dsct info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import dsct
from dsct.checkpoint import read_checkpoint
from dsct.cli.compiled_kernels import show_compiled_kernels
from dsct.cli.errors import one_line_errors


@one_line_errors
def info(
    weights: Annotated[Path | None, typer.Argument(help="Describe this weights file instead.")] = None,
    compile_for: Annotated[
        str | None,
        typer.Option("--compile", help="Compile the CUDA kernels for these compute capabilities, as in 80,90."),
    ] = None,
) -> None:
    """Show versions and which kernels would run, or the content of a weights file."""
    if compile_for is not None:
        if not show_compiled_kernels(compile_for):
            raise typer.Exit(1)
        return
    table = Table(show_header=False, box=None)
    for name, value in (dsct.info() if weights is None else _describe(weights)).items():
        table.add_row(name, value)
    Console().print(table, highlight=False)


def _describe(weights: Path) -> dict[str, str]:
    checkpoint = read_checkpoint(weights)
    numbers = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    about = {"tensors": f"{len(checkpoint.tensors)} with {numbers:,} numbers"}
    if checkpoint.config is None:
        return about | {"configuration": "none: not written by dsct"}
    extra = {key: text for key, text in checkpoint.metadata.items() if key != "dsct_config"}
    return about | {name: str(value) for name, value in checkpoint.config.to_dict().items()} | extra
