"""The command line: ``dsct train | eval | predict | convert | export | info | data | demo``."""

from __future__ import annotations

import typer

from dsct.cli.convert import convert
from dsct.cli.data import app as data_app
from dsct.cli.demo import demo
from dsct.cli.evaluation.evaluate import evaluate
from dsct.cli.export import export
from dsct.cli.info import info
from dsct.cli.overfit import overfit
from dsct.cli.prediction.predict import predict
from dsct.cli.train import train

app = typer.Typer(
    name="dsct",
    help="Finds every person in an image and the emotions each of them shows, in one step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("train")(train)
app.command("overfit")(overfit)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.command("demo")(demo)
app.command("convert")(convert)
app.command("export")(export)
app.command("info")(info)
app.add_typer(data_app, name="data")

__all__ = ["app"]
