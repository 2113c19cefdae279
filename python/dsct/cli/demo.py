"""``dsct demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import dsct
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.prediction.shipped_weights import SHIPPED_NOTE, SHIPPED_WEIGHTS

SHIPPED_NAME = "the small weights that come with dsct (dsct demo --weights FILE uses yours)"


@one_line_errors
def demo(
    weights: Annotated[Path | None, typer.Option(help="Weights; by default those that come with dsct.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any free one.")] = 7860,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: DeviceOption = "auto",
) -> None:
    """Show people, emotions and where the model looked in your images, on a page on this computer."""
    try:
        from dsct.demo import create_app, serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "anyio"):
            raise
        raise ImportError(f'dsct demo needs {error.name}: pip install "dsct[demo]"') from error
    chosen = choose_device(device)
    if weights is None:
        app = create_app(dsct.load_model(SHIPPED_WEIGHTS, chosen), name=SHIPPED_NAME, note=SHIPPED_NOTE)
    else:
        app = create_app(dsct.load_model(weights, chosen), name=weights.name)
    serve(app, port, open_browser=browser, announce=lambda address: typer.echo(f"{address} (Ctrl-C ends it)"))
