"""``dsct export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import dsct
from dsct.cli.errors import one_line_errors
from dsct.complete_files import require_writable


@one_line_errors
def export(
    weights: Annotated[Path, typer.Argument(help="A weights file of dsct.")],
    destination: Annotated[Path, typer.Argument(help="The file to write: .onnx, or .pt2 for torch.export.load.")],
    compiled: Annotated[
        bool, typer.Option("--compile", help="A .pt2 compiled for this kind of machine by AOTInductor.")
    ] = False,
    mask: Annotated[bool, typer.Option(help="Take a padding mask in addition to the images.")] = True,
    standard_operators: Annotated[
        bool, typer.Option("--standard-operators", help="A .pt2 that runs without dsct, but slower.")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators, 18 to 20; by default 18.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="BxHxW", help="Take only this batch, height and width, such as 1x480x640.")
    ] = None,
) -> None:
    """Write a model as a file that runs without dsct's Python code; ONNX always has standard operators.

    It takes images (and a mask) of any batch and size, unless --size is given, normalised as in training, and returns
    pred_logits and pred_boxes.
    """
    if destination.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"the destination must end in .onnx or .pt2, got {destination}")
    if compiled and destination.suffix == ".onnx":
        raise ValueError("--compile writes a .pt2 file, not .onnx")
    if compiled and standard_operators:
        raise ValueError("--compile excludes --standard-operators: a compiled file calls dsct's operators")
    if opset is not None and destination.suffix != ".onnx":
        raise ValueError("--opset is for .onnx files")
    require_writable(destination)
    only = None if size is None else _batch_height_width(size)
    from dsct.export import save_exported_program, to_aot_inductor, to_onnx

    model = dsct.load_model(weights)
    with Console(stderr=True).status("this takes a few minutes"):
        if destination.suffix == ".onnx":
            to_onnx(model, destination, mask=mask, size=only, **({} if opset is None else {"opset": opset}))
        elif compiled:
            to_aot_inductor(model, destination, mask=mask, size=only)
        else:
            save_exported_program(model, destination, mask=mask, standard_operators=standard_operators, size=only)
    typer.echo(f"wrote {destination} ({destination.stat().st_size / 1e6:.1f} MB)")


def _batch_height_width(text: str) -> tuple[int, int, int]:
    sides = text.split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError(f"--size must be batch x height x width, such as 1x480x640, got {text}")
    return int(sides[0]), int(sides[1]), int(sides[2])
