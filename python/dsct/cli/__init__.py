"""The command line: ``dsct train | eval | predict | convert | export | info | figure | data | demo``."""

from __future__ import annotations

import signal
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

import dsct
from dsct.cli.errors import STOPPED
from dsct.cli.on_demand import Place, group_of

#: In the order of ``dsct --help``, which shows these sentences without importing anything.
COMMANDS = {
    "train": Place("dsct.cli.train", "train", "Train a model on your data, EMOTIC, CAER-S or synthetic scenes."),
    "overfit": Place("dsct.cli.overfit", "overfit", "Overfit a small model to a few images, as a check of the data."),
    "eval": Place("dsct.cli.evaluation.evaluate", "evaluate", "Evaluate weights under the three protocols."),
    "predict": Place("dsct.cli.prediction.predict", "predict", "Find people and their emotions in images and videos."),
    "demo": Place("dsct.cli.demo", "demo", "Show what the model sees in your images, on a page on this computer."),
    "convert": Place("dsct.cli.convert", "convert", "Convert weights from and to other formats."),
    "export": Place("dsct.cli.export", "export", "Write a model as ONNX, torch.export or AOTInductor file."),
    "info": Place("dsct.cli.info", "info", "Show versions and kernels, or what a weights file contains."),
    "figure": Place("dsct.cli.figures", "app", "Draw figures to look at and for papers: PNG, SVG or PDF."),
    "data": Place("dsct.cli.data", "app", "Check data sets on your disk."),
}

app = typer.Typer(
    name="dsct",
    help="Finds every person in an image and the emotions each of them shows, in one step.",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"dsct {version('dsct')}")
        except PackageNotFoundError:  # a source tree that is not installed
            typer.echo(f"dsct {dsct.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of ``dsct`` itself."""


def main() -> None:
    """The program ``dsct``.

    A cluster signals every process of a job, and torchrun passes its signal on: the second may come while the program
    ends because of the first, and does not change how it ends.

    Raises:
        SystemExit: always; 130 after a signal.

    Example:
        >>> import sys
        >>> sys.argv = ["dsct", "--version"]
        >>> main()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        SystemExit: 0
    """
    try:
        app(prog_name="dsct")
    except SystemExit as end:
        if end.code == STOPPED:
            from dsct.data.loading_processes import STOP_SIGNALS  # not for `dsct --help`

            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
        raise


__all__ = ["app", "main"]
