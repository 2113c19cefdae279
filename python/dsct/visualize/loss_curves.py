"""Losses, scores and weights of the context over the epochs of one or more runs (paper, Fig. 12)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import FONT, WIDTH, NotebookFigure
from dsct.visualize.drawing.footer import Footer

_CHANCE = ("val_chance", "val_official_chance")
_NOTHING = (None, "", "nan")  # as a log writes a number that does not exist
_PANEL_HEIGHT = 2.9
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Panel:
    """Columns of the log that are drawn together: name -> label. `percent`: shares, from 0 to 100."""

    title: str
    columns: Mapping[str, str]
    percent: bool = False

    def occurs(self, log: Rows) -> bool:
        """Whether the log has a number in one of the columns; chance alone is no curve."""
        names = set(self.columns) - set(_CHANCE)
        return any(row.get(column) not in _NOTHING for row in log for column in names)


def _loss(title: str, name: str) -> Panel:
    return Panel(title, {f"train_{name}": "training", f"val_{name}": "validation"})


def _score(title: str, metric: str) -> Panel:
    columns = {f"val_official_{metric}": "official protocol", **dict.fromkeys(_CHANCE, "chance")}
    return Panel(title, columns, percent=True)


PANELS = (
    _loss("total loss", "loss"),
    _loss("class loss", "loss_ce"),
    _loss("box loss, L1", "loss_bbox"),
    _loss("box loss, GIoU", "loss_giou"),
    _score("accuracy on validation data, %", "accuracy"),
    _score("mAP on validation data, %", "mAP"),
    Panel(
        "weight of the context by set, %",
        {"weight_spatial": "spatial: near", "weight_semantic": "semantic: by content"},
        percent=True,
    ),
)


def loss_curves(runs: Mapping[str, str | os.PathLike[str]]) -> NotebookFigure:
    r"""Draws what training wrote to ``log.csv``: losses, the score beside chance, the weight of each context set.

    A panel is drawn for what some run has logged. Of accuracy and mAP, it is the one that chose the best epoch.

    Args:
        runs: name in the legend -> folder of the run, for instance one with and one without the box losses.

    Returns:
        A figure with one panel per loss, lines for training and dashes for validation, one for the score and one for
        the weights; colours tell runs apart, and the best epoch is marked.

    Raises:
        FileNotFoundError: a folder contains no ``log.csv``.
        TypeError: `runs` is no mapping.
        ValueError: there is no run, or a log contains no epoch or something that is no number.

    Example:
        >>> import pathlib, tempfile
        >>> run = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (run / "log.csv").write_text("epoch,train_loss,val_loss,is_best\n1,3.0,3.5,1\n2,2.0,2.5,1\n")
        >>> [ax.get_title() for ax in loss_curves({"mine": run}).axes]
        ['total loss']
    """
    if not isinstance(runs, Mapping):
        raise TypeError(f"runs must be a mapping from names to folders, got {type(runs).__name__}")
    if not runs:
        raise ValueError("runs must name at least one folder, got none")
    logs = {name: _read(Path(folder) / "log.csv") for name, folder in runs.items()}
    panels = _panels(list(logs.values()))
    if not panels:
        raise ValueError("runs must have logged a number to draw, got none")
    rows = -(-len(panels) // 2)
    names = [Line2D([], [], color=color, label=run, linewidth=3) for run, color in zip(logs, _colors(), strict=False)]
    footer = Footer(WIDTH, names if len(logs) > 1 else ())
    figure = NotebookFigure(WIDTH, rows * _PANEL_HEIGHT + footer.height)
    for number, panel in enumerate(panels):
        ax = figure.add_subplot(rows, min(2, len(panels)), number + 1)
        for (run, log), color in zip(logs.items(), _colors(), strict=False):
            _draw(ax, log, panel, color, run if len(logs) > 1 else "")
        _finish(ax, panel, single=len(logs) == 1)
    figure.tight_layout(rect=(0, footer.height / figure.get_figheight(), 1, 1))
    footer.draw(figure, rows * _PANEL_HEIGHT)
    return figure


def _colors() -> Iterator[str]:
    return cycle(PERSON_COLORS)


def _panels(logs: Sequence[Rows]) -> list[Panel]:
    """Those that occur. Where both scores were logged, several emotions per person have mAP, one has accuracy."""
    panels = [panel for panel in PANELS if any(panel.occurs(log) for log in logs)]
    both = any("val_official_accuracy" in panel.columns for panel in panels)
    return [panel for panel in panels if not (both and "val_official_mAP" in panel.columns)]


def _draw(ax: Axes, log: Rows, panel: Panel, color: str, run: str) -> None:
    epochs = [int(row["epoch"]) for row in log]
    best = [i for i, row in enumerate(log) if row.get("is_best") == "1"]
    for (column, label), style in zip(panel.columns.items(), ("-", "--", "--"), strict=False):
        if all(row.get(column) in _NOTHING for row in log):
            continue
        values = [(100 if panel.percent else 1) * float(row[column] or "nan") for row in log]
        look: dict[str, Any] = {"color": color, "linestyle": style, "linewidth": 1.6}
        if column in _CHANCE:
            look = {"color": "0.4", "linestyle": ":", "linewidth": 1.4}
        marker = "." if len(epochs) == 1 else None  # one epoch is no line
        ax.plot(epochs, values, label=f"{run} {label}".strip(), marker=marker, **look)
        if column.startswith("val_") and column not in _CHANCE and best:
            at = epochs[best[-1]], values[best[-1]]
            ax.plot(*at, linestyle="none", marker="o", color=color, label=f"{run} best epoch".strip())


def _finish(ax: Axes, panel: Panel, single: bool) -> None:
    ax.set_title(panel.title, fontsize=FONT + 1)
    ax.set_xlabel("epoch", fontsize=FONT)
    ax.tick_params(labelsize=FONT - 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(handles=_line_kinds(ax, panel, single), fontsize=FONT - 1, frameon=False)


def _line_kinds(ax: Axes, panel: Panel, single: bool) -> list[Line2D]:
    """One entry per kind of line; of several runs in grey, since the colours of runs are explained below all panels."""
    kinds: dict[str, Line2D] = {}
    for label in dict.fromkeys((*panel.columns.values(), "best epoch")):
        found = next((line for line in ax.get_lines() if str(line.get_label()).endswith(label)), None)
        if found is not None:
            color = found.get_color() if single else "0.4"
            style: dict[str, Any] = {"linestyle": found.get_linestyle(), "marker": found.get_marker(), "linewidth": 1.6}
            kinds[label] = Line2D([], [], label=label, color=color, **style)
    return list(kinds.values())


def _read(path: Path) -> Rows:
    if not path.is_file():
        raise FileNotFoundError(f"no log of a run at {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{path} must be a table of a training's log in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path} must hold at least one epoch, got none")
    if "epoch" not in rows[0] or not any(set(panel.columns) & set(rows[0]) for panel in PANELS):
        raise ValueError(f"{path} must have the columns of a training's log, got {', '.join(map(str, rows[0]))[:200]}")
    for number, row in enumerate(rows, start=2):
        _require_numbers(row, f"{path}, line {number}")
    return rows


def _require_numbers(row: dict[str, str], where: str) -> None:
    for column in ("epoch", *(column for panel in PANELS for column in panel.columns if column in row)):
        try:
            float(int(row[column])) if column == "epoch" else float(row[column] or "nan")
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}: {column} must be a number, got {repr(row[column])[:80]}") from error
