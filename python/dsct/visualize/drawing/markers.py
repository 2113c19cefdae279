"""Points on an image: reference points, and points whose size and opacity show their weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

_LARGEST = 70.0  # square points


def draw_reference_point(ax: Axes, point: ArrayLike, color: str) -> None:
    """A star with a white rim."""
    x, y = (float(value) for value in np.asarray(point))
    ax.plot([x], [y], **_star(color), zorder=5)


def draw_weighted_points(
    ax: Axes,
    points: ArrayLike,
    weights: ArrayLike,
    color: str,
    marker: str = "o",
    edge: str = "black",
    greatest: float | None = None,
    smallest: float = 0.07,
    scale: float = 1.0,
    zorder: float = 3,
) -> None:
    """Points whose area and opacity grow with their weight, up to full opacity.

    Args:
        ax: the axes.
        points: (n, 2), x and y.
        weights: (n,), not negative.
        color: inside.
        marker: of matplotlib.
        edge: colour of the rim.
        greatest: the weight of a point of full size and opacity; None is the greatest of `weights`.
        smallest: area of a point without weight, as a share of that of the greatest.
        scale: of all areas.
        zorder: of matplotlib; a reference point has 5.
    """
    shares = np.asarray(weights, dtype=np.float64)
    shares = shares / max(shares.max(initial=0.0) if greatest is None else greatest, np.finfo(np.float64).tiny)
    order = np.argsort(shares, kind="stable")  # the greatest are on top
    shares, places = shares[order], np.asarray(points)[order]
    areas = smallest + (1 - smallest) * shares
    opacity = np.sqrt(areas)
    faces, rims = ([(*to_rgb(of), float(alpha)) for alpha in opacity] for of in (color, edge))
    ax.scatter(
        places[:, 0],
        places[:, 1],
        s=scale * _LARGEST * areas,
        c=faces,
        edgecolors=rims,
        linewidths=0.6,
        marker=marker,
        zorder=zorder,
    )


def star_in_legend(label: str) -> Line2D:
    """A legend entry for `draw_reference_point`."""
    return Line2D([], [], label=label, linestyle="none", **_star("0.6"))


def point_in_legend(label: str, color: str, marker: str = "o", edge: str = "black") -> Line2D:
    """A legend entry for `draw_weighted_points`."""
    return Line2D([], [], label=label, linestyle="none", marker=marker, color=color, markeredgecolor=edge, markersize=7)


def _star(color: str) -> dict[str, Any]:
    rim = [withStroke(linewidth=3, foreground="white")]
    return {"marker": "*", "markersize": 15, "color": color, "markeredgecolor": "black", "markeredgewidth": 0.8,
            "path_effects": rim}  # fmt: skip
