"""An evaluation in the terminal; every table is readable in 80 columns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dsct.metrics import Evaluation, ProtocolResult, tables
from dsct.metrics.tables import Share

_CORNER = "true \\ predicted"


def show(evaluation: Evaluation, console: Console) -> None:
    """Prints the headline values by protocol, the classes, and the confusion matrix if there is one."""
    about = f"{evaluation.num_people} people in {evaluation.num_images} images, labels: {evaluation.labels}"
    console.print(about, highlight=False, markup=False)
    if evaluation.throughput is not None:
        console.print(f"{evaluation.throughput.images_per_second:.1f} images/s, loading included", highlight=False)
    confidence = 0.0 if evaluation.bootstrap is None else evaluation.bootstrap.confidence
    for numbers in tables.all_tables(evaluation):
        console.print(_printed(numbers, confidence))
    _show_confusion(evaluation["official"], console)
    if evaluation.details is not None:
        found = evaluation.details.calibration
        of = "mean over classes" if evaluation["official"].confusion is None else found.names[0]
        console.print(f"expected calibration error, {of}: {_short(found.error)} %", highlight=False)


def _printed(numbers: tables.Table, confidence: float) -> Table:
    """The intervals of the first column that has some stand beside it; those of all would not fit into 80 columns."""
    # Padding on one side only, for the same reason; only names are broken, numbers never.
    table = Table(title=f"{numbers.title}, %", padding=(0, 0, 0, 1))
    cells = [[row[at] for row in numbers.rows] for at in range(len(numbers.columns))]
    with_interval = next((at for at, column in enumerate(cells) if any(_interval(one) is not None for one in column)),
                         None)  # fmt: skip
    for at, heading in enumerate(numbers.columns):
        if at:
            table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")
        if at == with_interval:
            table.add_column(f"{100 * confidence:g} %\ninterval", justify="right", no_wrap=True)
    for row in numbers.rows:
        texts = []
        for at, cell in enumerate(row):
            texts.append(_short(cell.value) if isinstance(cell, Share) else cell)
            if at == with_interval:
                texts.append("" if cell == "" else _ends(_interval(cell)))
        table.add_row(*map(Text, texts))  # not as markup: a class may be called [calm]
    return table


def _show_confusion(result: ProtocolResult, console: Console) -> None:
    """With names over the columns where they fit, else numbers; left out where neither fits."""
    if result.confusion is None:
        return
    names, numbers = result.class_names, [str(number) for number in range(1, len(result.class_names) + 1)]
    for headings, rows in ((names, names), (numbers, [f"{n} {name}" for n, name in zip(numbers, names, strict=True)])):
        table = Table(title="confusion matrix, official protocol", padding=(0, 0, 0, 1))
        table.add_column(_CORNER, overflow="fold", min_width=len(_CORNER))
        for heading in headings:
            table.add_column(Text(heading), justify="right", no_wrap=True)
        for name, row in zip(rows, result.confusion, strict=True):
            table.add_row(Text(name), *(str(count) for count in row))
        largest = [str(count) for count in result.confusion.max(axis=0, initial=0)]
        widths = [max(map(len, column)) for column in zip(headings, largest, strict=True)]
        if len(_CORNER) + 3 + sum(widths) + 2 * len(widths) <= console.width:
            console.print(table)
            return
    console.print(f"confusion matrix: {len(names)} columns are too many here; --out and --json write it",
                  highlight=False)  # fmt: skip


def _interval(cell: str | Share) -> NDArray[np.float64] | None:
    return cell.interval if isinstance(cell, Share) else None


def _short(value: float) -> str:
    """Percent with one decimal, so that a table fits a terminal."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _ends(interval: NDArray[np.float64] | None) -> str:
    return "–" if interval is None or math.isnan(interval[0]) else f"{_short(interval[0])}–{_short(interval[1])}"
