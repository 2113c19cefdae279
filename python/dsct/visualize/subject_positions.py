"""Where the subject queries of models with different numbers of them look (paper, Fig. 9)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dsct.image_io import ImageInput, load_image
from dsct.person_colors import ink, person_color
from dsct.prediction.shipped_weights import resolve_model
from dsct.visualize.drawing.image_axes import draw_box, person_line_style, show_image
from dsct.visualize.drawing.markers import draw_weighted_points, point_in_legend
from dsct.visualize.drawing.panel_grid import panel_grid
from dsct.visualize.drawing.picture import FONT, with_note
from dsct.visualize.subject_trace import Floats, heaviest, trace_subjects

if TYPE_CHECKING:
    from dsct.modules import DSCT

    AnyModel: TypeAlias = DSCT | str | os.PathLike[str] | None

FADE = 0.45
_MOST_POINTS = 100  # per person
_CAPTION = "Disc: reference point of a subject query, with its number, from 0. It is the same for every image."
_ON_SQUARE = " The square stands for any image, whatever its shape."
_ON_IMAGE = " Boxes and sampling points of the last decoder layer are those of the queries that found somebody."


def draw_subject_positions(
    models: Mapping[Any, AnyModel] | Iterable[AnyModel],
    image: ImageInput | None = None,
    *,
    ax: Axes | None = None,
    **options: Any,
) -> Figure:
    """Draws the reference points of all subject queries: one panel per model.

    Without an image, those of the context queries are small grey dots. On an image, boxes and sampling points are
    shown of each person found, in the colour of the query that found it.

    Args:
        models: models, or paths of native safetensors files, or None for the small weights that come with dsct. In a
            mapping the keys are N, or names for the titles.
        image: anything `load_image` reads; None draws the unit square instead.
        ax: draw the only model of `models` into these axes, without legend and caption.
        **options: those of `trace_subjects`, such as `score_threshold`.

    Returns:
        A new figure, or the figure of `ax`.

    Raises:
        ValueError: no model; a key of `models` is not the N of its model; several models and `ax`.

    Example:
        >>> import dsct
        >>> models = {n: dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=n)) for n in (1, 4, 9)}
        >>> [ax.get_title(loc="left") for ax in draw_subject_positions(models).axes]
        ['N = 1', 'N = 4', 'N = 9']
    """
    items = list(models.items()) if isinstance(models, Mapping) else [(None, model) for model in models]
    if not items:
        raise ValueError("draw_subject_positions: models must hold at least one model, got none")
    if ax is not None and len(items) > 1:
        raise ValueError(f"draw_subject_positions: ax takes one model, got {len(items)}")
    named = [(model, *_resolved(key, model)) for key, model in items]
    if ax is not None:
        _draw(ax, named[0][1], image, options)
        return cast(Figure, ax.get_figure(root=True))
    picture = None if image is None else load_image(image)
    shipped = None if any(model is None for model, *_ in named) else named  # the note is on what None stands for
    legend = [] if picture else [_context_in_legend()]
    if picture:
        legend = [point_in_legend("sampling points; size and opacity: attention weight", "0.6")]
    figure, axes = panel_grid(
        len(named),
        min(len(named), 5) if len(named) != 4 else 4,
        picture.width / picture.height if picture else 1.0,
        legend,
        with_note(_CAPTION + (_ON_IMAGE if picture else _ON_SQUARE), shipped),
    )
    for one, (_, module, title) in zip(axes, named, strict=True):
        _draw(one, module, image, options)
        one.set_title(title, fontsize=FONT, loc="left", parse_math=False)
    return figure


def _resolved(key: object, model: AnyModel) -> tuple[DSCT, str]:
    """The model itself and the title of its panel."""
    module, _ = resolve_model(model, None)
    number = module.config.num_subject_queries
    if isinstance(key, int) and key != number:
        raise ValueError(f"draw_subject_positions: models[{key}] must have {key} subject queries, got {number}")
    return module, f"N = {number}" if key is None or isinstance(key, int) else f"{key}: N = {number}"


def _draw(ax: Axes, model: DSCT, image: ImageInput | None, options: dict[str, Any]) -> None:
    context, subject = _reference_points(model)
    if image is None:
        ax.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xticks=[], yticks=[])
        ax.plot(*context.T, **_context_style())
    else:
        picture = load_image(image)
        show_image(ax, picture, FADE)
        subject = subject * np.array(picture.size, np.float32)
        for found in trace_subjects(image, model, **options):
            color, at = person_color(found.query), found.layers[-1]
            heavy = heaviest(at.sampling_points, at.sampling_weights, _MOST_POINTS)
            draw_weighted_points(ax, *heavy, color, scale=0.4)
            draw_box(ax, found.person.box, color, person_line_style(found.query), 1.5)
    for query, point in enumerate(subject):
        _draw_disc(ax, point, query)


def _reference_points(model: DSCT) -> tuple[Floats, Floats]:
    """Those of the context queries and of the subject queries, (n, 2) in fractions of any image."""
    with torch.no_grad():
        positions, _ = model._queries().chunk(2, dim=-1)
        points = model.transformer.reference_points(positions)[0].float().cpu().numpy()
    context = model.config.num_context_queries
    return points[:context], points[context:]


def _draw_disc(ax: Axes, point: Floats, query: int) -> None:
    color = person_color(query)
    disc = {"boxstyle": "circle,pad=0.25", "facecolor": color, "edgecolor": "black", "linewidth": 0.8}
    style: dict[str, Any] = {"fontsize": FONT - 3, "fontweight": "bold", "ha": "center", "va": "center", "zorder": 5}
    ax.text(float(point[0]), float(point[1]), str(query), color=ink(color), bbox=disc, **style)


def _context_style() -> dict[str, Any]:
    return {"linestyle": "none", "marker": ".", "color": "0.65", "markersize": 4}


def _context_in_legend() -> Line2D:
    return Line2D([], [], label="reference points of the context queries", **_context_style())
