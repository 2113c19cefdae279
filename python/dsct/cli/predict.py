"""``dsct predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import dsct
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import told_in_one_sentence


@told_in_one_sentence
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    weights: Annotated[Path | None, typer.Option(help="Weights; by default those that come with dsct.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Report labels above this probability (multi-label).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per image.")] = False,
    plot_dir: Annotated[
        Path | None, typer.Option(help="Write each image with its people drawn in to this folder.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Find the people in images and say what each of them feels."""
    chosen = choose_device(device)
    model = None if weights is None else dsct.load_model(weights, chosen)
    found = dsct.predict(list(images), model, threshold=threshold, device=chosen)
    if as_json:
        typer.echo(json.dumps([people.to_dict() for people in found], indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(str(people) for people in found))
    if plot_dir is not None:
        plot_dir.mkdir(parents=True, exist_ok=True)
        # Numbered, because files of two folders may have one name.
        for number, (image, people) in enumerate(zip(images, found, strict=True), start=1):
            people.plot().savefig(plot_dir / f"{number:03d}_{image.stem}.png")
