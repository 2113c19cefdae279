"""What a figure looks like, as plain data: sizes, places, colours, lines, texts and their order."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text


def look(figure: Figure, with_data: bool) -> dict[str, Any]:
    """Of everything that is visible.

    Args:
        figure: is drawn.
        with_data: also where marks are; not of a model's numbers, which differ between processors.
    """
    figure.canvas.draw()
    return {
        "size": figure.get_size_inches().tolist(),
        "dpi": figure.dpi,
        "axes": [_axes(ax, with_data) for ax in figure.axes],
        "artists": _artists(figure.get_children(), with_data),
    }


def _axes(ax: Axes, with_data: bool) -> dict[str, Any]:
    labels = [text for axis in (ax.xaxis, ax.yaxis) for text in axis.get_ticklabels() if ax.axison]
    titles = [ax.get_title("left"), ax.get_title("center"), ax.get_title("right")]
    facts: dict[str, Any] = {
        "place": list(ax.get_position().bounds),
        "titles": titles,
        "shown": ax.axison,
        "spines": [name for name, spine in ax.spines.items() if spine.get_visible()],
        "labels": [_text(text, False) for text in (ax.xaxis.label, ax.yaxis.label)],
        "tick labels": [_text(text, False) for text in labels],
        "grid": [bool(line.get_visible()) for axis in (ax.xaxis, ax.yaxis) for line in axis.get_gridlines()[:1]],
    }
    if with_data:
        facts["limits"] = [*ax.get_xlim(), *ax.get_ylim()]
    skipped = [ax.xaxis, ax.yaxis, *ax.spines.values()]
    return {**facts, "artists": _artists([one for one in ax.get_children() if one not in skipped], with_data)}


def _artists(artists: list[Artist], with_data: bool) -> list[dict[str, Any]]:
    return [
        {"order": one.get_zorder(), **facts}
        for one in artists
        if one.get_visible() and not isinstance(one, Axes) and (facts := _artist(one, with_data))
    ]


def _artist(artist: Artist, with_data: bool) -> dict[str, Any]:
    match artist:
        case Text():
            return _text(artist, with_data) if artist.get_text() else {}
        case Line2D():
            return _line(artist, with_data)
        case Legend():
            return {
                "legend": [_text(text, False) for text in artist.get_texts()],
                "columns": artist._ncols,
                "frame": artist.get_frame_on(),
                "handles": [_artist(handle, False) for handle in artist.legend_handles if handle is not None],
            }
        case AxesImage():
            return {"image": list(artist.get_array().shape), "alpha": artist.get_alpha(), "map": artist.get_cmap().name}
        case Collection():
            data = {"at": np.ma.filled(artist.get_offsets(), -1).tolist()} if with_data else {}
            colors = sorted({to_hex(color, True) for color in [*artist.get_facecolor(), *artist.get_edgecolor()]})
            return {"marks": colors, "widths": list(artist.get_linewidths())[:1], "alpha": artist.get_alpha(), **data}
        case Patch():
            place = [*artist.get_xy(), artist.get_width(), artist.get_height()] if isinstance(artist, Rectangle) else []
            return {
                "patch": type(artist).__name__,
                "face": to_hex(artist.get_facecolor(), True),
                "edge": to_hex(artist.get_edgecolor(), True),
                "width": artist.get_linewidth(),
                "style": str(artist.get_linestyle()),
                "at": [float(number) for number in place] if with_data else [],
            }
    return {}


def _line(line: Line2D, with_data: bool) -> dict[str, Any]:
    return {
        "line": str(line.get_label()) if not str(line.get_label()).startswith("_") else "",
        "color": to_hex(line.get_color(), True),
        "edge": to_hex(line.get_markeredgecolor(), True),
        "width": line.get_linewidth(),
        "style": str(line.get_linestyle()),
        "marker": str(line.get_marker()),
        "marker size": line.get_markersize(),
        "alpha": line.get_alpha(),
        "at": np.asarray(line.get_xydata(), dtype=float).tolist() if with_data else [],
    }


def _text(text: Text, with_data: bool) -> dict[str, Any]:
    return {
        "text": text.get_text() if with_data else "".join(" " if sign.isdigit() else sign for sign in text.get_text()),
        "size": text.get_fontsize(),
        "weight": str(text.get_fontweight()),
        "color": to_hex(text.get_color(), True),
        "turn": text.get_rotation(),
        "aligned": [text.get_horizontalalignment(), text.get_verticalalignment()],
        "at": [float(number) for number in text.get_position()] if with_data else [],
    }
