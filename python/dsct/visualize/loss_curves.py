"""Training and validation losses over the epochs of one or more runs (paper, Fig. 12)."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import NotebookFigure

PANELS = {"loss": "total loss", "loss_ce": "class loss", "loss_bbox": "box loss, L1", "loss_giou": "box loss, GIoU"}


def loss_curves(runs: Mapping[str, str | os.PathLike[str]]) -> NotebookFigure:
    r"""Draws the losses that training wrote to ``log.csv``.

    Args:
        runs: name in the legend -> folder of the run, for instance one with and one without the box losses.

    Returns:
        A figure with one panel per loss, lines for training and dashes for validation; the best epoch is marked.

    Raises:
        FileNotFoundError: a folder contains no ``log.csv``.
        ValueError: there is no run, or a log contains no epoch.

    Example:
        >>> import pathlib, tempfile
        >>> run = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (run / "log.csv").write_text("epoch,train_loss,val_loss,is_best\n1,3.0,3.5,1\n2,2.0,2.5,1\n")
        >>> [ax.get_title() for ax in loss_curves({"mine": run}).axes]
        ['total loss']
    """
    if not runs:
        raise ValueError("runs must name at least one folder, got none")
    logs = {name: _read(Path(folder) / "log.csv") for name, folder in runs.items()}
    names = [name for name in PANELS if any(f"train_{name}" in rows[0] for rows in logs.values())]
    figure = NotebookFigure(10.0, 3.2 if len(names) <= 2 else 6.0)
    for number, name in enumerate(names):
        ax = figure.add_subplot(-(-len(names) // 2), min(2, len(names)), number + 1)
        for (run, rows), color in zip(logs.items(), PERSON_COLORS * len(logs), strict=False):
            _draw(ax, rows, name, color, run if len(logs) > 1 else "")
        ax.set_title(PANELS[name], fontsize=10)
        ax.set_xlabel("epoch", fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
        if number == 0:
            ax.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    return figure


def _draw(ax: Axes, rows: list[dict[str, str]], name: str, color: str, run: str) -> None:
    epochs = [int(row["epoch"]) for row in rows]
    for part, style in (("train", "-"), ("val", "--")):
        column = f"{part}_{name}"
        if column not in rows[0]:
            continue
        values = [float(row[column] or "nan") for row in rows]
        label = {"train": "training", "val": "validation"}[part]
        ax.plot(epochs, values, style, color=color, label=f"{run} {label}".strip(), linewidth=1.6)
        best = [i for i, row in enumerate(rows) if row.get("is_best") == "1"]
        if part == "val" and best:
            ax.plot(epochs[best[-1]], values[best[-1]], "o", color=color, label=f"{run} best epoch".strip())


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"no log of a run at {path}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} must hold at least one epoch, got none")
    return rows
