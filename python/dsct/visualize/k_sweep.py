"""A metric over the sizes of the spatial and the semantic context set, K_sp and K_sm (paper, Fig. 11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dsct.prediction.person_colors import PERSON_COLORS
from dsct.visualize.drawing.figure import FONT, WIDTH, NotebookFigure

COLUMNS = ("k_spatial", "k_semantic", "value")
_SPATIAL, _SEMANTIC = "spatial context, $K_{sp}$", "semantic context, $K_{sm}$"
_BEST_COLOR = "#D55E00"

Sweep = Mapping[tuple[int, int], float]


def draw_k_sweep(results: Any, *, metric: str = "mAP, %", ax: Axes | None = None) -> Figure:
    """Draws a metric over K_sp and K_sm: a heat map, and lines along both through the best value.

    Args:
        results: ``{(k_spatial, k_semantic): value}``; or a table with the columns ``k_spatial``, ``k_semantic`` and
            ``value``: a pandas DataFrame or rows as dicts. Not every pair needs a value. Greater is better.
        metric: name of the values.
        ax: draw the heat map alone into these axes.

    Returns:
        A new figure, or the figure of `ax`.

    Raises:
        TypeError: `results` is neither a mapping nor a table, or a value is no number.
        ValueError: there is no result, a size is negative or not an integer, a value is not finite, or a pair repeats.

    Example:
        >>> figure = draw_k_sweep({(50, 50): 36.9, (100, 50): 37.3, (100, 100): 37.1})
        >>> figure.axes[0].get_title(loc="left")
        'best: 37.30 at K_sp = 100, K_sm = 50'
    """
    sweep = _checked(results)
    best = max(sweep, key=lambda pair: sweep[pair])
    if ax is not None:
        _draw_map(ax, sweep, best, metric)
        return cast(Figure, ax.get_figure(root=True))
    figure = NotebookFigure(WIDTH, 3.6)
    heat_map, over_spatial, over_semantic = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    _draw_map(heat_map, sweep, best, metric)
    _draw_lines(over_spatial, sweep, best, 0)
    _draw_lines(over_semantic, sweep, best, 1)
    over_spatial.set_ylabel(metric, fontsize=FONT)
    figure.tight_layout()
    return figure


def _checked(results: Any) -> dict[tuple[int, int], float]:
    pairs = list(results.items()) if isinstance(results, Mapping) else [_pair(row) for row in _rows(results)]
    if not pairs:
        raise ValueError("draw_k_sweep: results must hold at least one value, got none")
    sweep: dict[tuple[int, int], float] = {}
    for key, value in pairs:
        if not (isinstance(key, tuple) and len(key) == 2 and all(_is_size(k) for k in key)):
            raise ValueError(f"draw_k_sweep: keys of results must be (k_spatial, k_semantic) from 0, got {key!r}")
        if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
            raise TypeError(f"draw_k_sweep: results must be numbers, got {value!r} at {key}")
        if not np.isfinite(value):
            raise ValueError(f"draw_k_sweep: results must be finite, got {value} at {key}")
        if key in sweep:
            raise ValueError(f"draw_k_sweep: results must name each pair once, got {key} twice")
        sweep[int(key[0]), int(key[1])] = float(value)
    return sweep


def _is_size(k: Any) -> bool:
    return isinstance(k, (int, float, np.number)) and float(k) >= 0 and float(k).is_integer()


def _rows(table: Any) -> Iterable[Any]:
    if hasattr(table, "to_dict"):
        return cast(Iterable[Any], table.to_dict("records"))
    if isinstance(table, Iterable) and not isinstance(table, str):
        return table
    raise TypeError(f"draw_k_sweep: results must be a mapping or a table, got {type(table).__name__}")


def _pair(row: Any) -> tuple[tuple[Any, Any], Any]:
    if not isinstance(row, Mapping) or not set(COLUMNS) <= row.keys():
        raise ValueError(f"draw_k_sweep: rows of results must have the columns {', '.join(COLUMNS)}, got {row!r}")
    return (row["k_spatial"], row["k_semantic"]), row["value"]


def _draw_map(ax: Axes, sweep: Sweep, best: tuple[int, int], metric: str) -> None:
    spatial, semantic = (sorted({pair[axis] for pair in sweep}) for axis in (0, 1))
    values: NDArray[np.float64] = np.full((len(semantic), len(spatial)), np.nan)
    for (k_spatial, k_semantic), value in sweep.items():
        values[semantic.index(k_semantic), spatial.index(k_spatial)] = value
    image = ax.imshow(values, cmap="cividis", origin="lower", aspect="auto")
    ax.set_facecolor("0.9")
    low, high = np.nanmin(values), np.nanmax(values)
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        text, light = (
            ("–", False) if np.isnan(value) else (_number(value, high), value < (low + high) / 2 or low == high)
        )
        ax.text(column, row, text, ha="center", va="center", fontsize=FONT - 1, color="white" if light else "black")
    corner = (spatial.index(best[0]) - 0.5, semantic.index(best[1]) - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=_BEST_COLOR, linewidth=3, clip_on=False))
    ax.set_xticks(range(len(spatial)), [str(k) for k in spatial], fontsize=FONT - 1)
    ax.set_yticks(range(len(semantic)), [str(k) for k in semantic], fontsize=FONT - 1)
    ax.set_xlabel(_SPATIAL, fontsize=FONT)
    ax.set_ylabel(_SEMANTIC, fontsize=FONT)
    title = f"best: {_number(sweep[best], high)} at K_sp = {best[0]}, K_sm = {best[1]}"
    ax.set_title(title, fontsize=FONT, loc="left", parse_math=False)
    figure = cast(Figure, ax.get_figure(root=True))
    bar = figure.colorbar(image, ax=ax)
    bar.set_label(metric, fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)


def _number(value: float, greatest: float) -> str:
    """Percentages with two digits, fractions with three."""
    return f"{value:.2f}" if abs(greatest) > 1 else f"{value:.3f}"


def _draw_lines(ax: Axes, sweep: Sweep, best: tuple[int, int], axis: int) -> None:
    """One line per size of the other set; that of the best in colour."""
    for other in sorted({pair[1 - axis] for pair in sweep}, key=lambda k: k == best[1 - axis]):
        line = sorted((pair[axis], value) for pair, value in sweep.items() if pair[1 - axis] == other)
        chosen = other == best[1 - axis]
        style: dict[str, Any] = (
            {"color": PERSON_COLORS[4], "linewidth": 2.0} if chosen else {"color": "0.75", "linewidth": 1.0}
        )
        ax.plot(*zip(*line, strict=True), marker="o", markersize=4, **style)
    ax.plot([best[axis]], [sweep[best]], "*", color=_BEST_COLOR, markeredgecolor="black", markersize=14, zorder=5)
    ax.set_xlabel((_SPATIAL, _SEMANTIC)[axis], fontsize=FONT)
    ax.set_title(f"blue: K_{('sm', 'sp')[axis]} = {best[1 - axis]}; grey: others", fontsize=FONT, loc="left",
                 parse_math=False)  # fmt: skip
    ax.tick_params(labelsize=FONT - 1)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
