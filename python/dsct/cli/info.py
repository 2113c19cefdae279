"""``dsct info``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import dsct
from dsct.checkpoint import Checkpoint, read_checkpoint
from dsct.checkpoint.files import CONFIG_KEY
from dsct.checkpoint.layouts import recognise
from dsct.cli.compiled_kernels import show_compiled_kernels
from dsct.cli.datasets import parse_size
from dsct.cli.errors import one_line_errors


@one_line_errors
def info(
    weights: Annotated[Path | None, typer.Argument(help="Describe this weights file instead.")] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT for which to count; by default a photograph of 4:3, resized as the model does."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    compile_for: Annotated[
        str | None,
        typer.Option("--compile", help="Compile the CUDA kernels for these compute capabilities, as in 80,90."),
    ] = None,
) -> None:
    """Show versions and which kernels would run, or what a weights file contains.

    Of a model: parameters, multiply-adds and floating-point operations for one image, input size, classes, thresholds,
    settings and SHA-256. Of a foreign file: which program and architecture its tensors are of.
    """
    if compile_for is not None:
        if not show_compiled_kernels(compile_for):
            raise typer.Exit(1)
        return
    if weights is None:
        _show(dict(dsct.info()), as_json)
        return
    about = _describe(weights)
    checkpoint = read_checkpoint(weights)
    if checkpoint.config is None or checkpoint.config.backbone == "custom":
        _show(about | _of_tensors(checkpoint, weights), as_json)
        return
    found = dsct.summary(weights, None if image_size is None else parse_size(image_size))
    if as_json:
        _show(about | found.to_dict(), as_json)
        return
    typer.echo(f"{found}\n")
    short, long = found.sides
    thresholds = "none" if found.thresholds is None else ", ".join(f"{value:.3g}" for value in found.thresholds)
    sides = {"input size": f"short side {'as it is' if short is None else short}, long side at most {long}"}
    extra = {key: text for key, text in checkpoint.metadata.items() if key != CONFIG_KEY}
    _show(about | sides | {"thresholds": thresholds} | found.config.to_dict() | extra, as_json)


def _describe(weights: Path) -> dict[str, Any]:
    if not weights.is_file():
        return {"file": str(weights)}
    return {"file": str(weights), "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}


def _of_tensors(checkpoint: Checkpoint, weights: Path) -> dict[str, Any]:
    """What is known of a file that describes no model, or one with a backbone that only its user has."""
    numbers = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    about: dict[str, Any] = {"tensors": f"{len(checkpoint.tensors)} with {numbers:,} numbers"}
    if checkpoint.config is not None:
        return about | {"backbone": "custom: not counted"} | checkpoint.config.to_dict()
    try:
        layout = recognise(checkpoint.tensors, weights)
        kind = f"{layout}, recognised by {layout.key}"
    except ValueError:
        kind = "unknown"
    return about | {"kind": kind, "configuration": "none: not written by dsct"}


def _show(about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # digests are to be copied
    for name, value in about.items():
        table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    Console().print(table, highlight=False, markup=False)
