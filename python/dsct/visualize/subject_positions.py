"""Where the subject queries look, in models with different numbers of them (paper, Fig. 9)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput, load_image
from dsct.modules import DSCT
from dsct.prediction.look import Floats, heaviest
from dsct.prediction.options import Options, lists_options
from dsct.prediction.person_colors import ink, person_color
from dsct.prediction.predictor import Predictor
from dsct.prediction.shipped_weights import AnyModel
from dsct.visualize.drawing.figure import FONT, with_note
from dsct.visualize.drawing.image_axes import draw_box, person_line_style, show_image
from dsct.visualize.drawing.markers import draw_weighted_points, point_in_legend
from dsct.visualize.drawing.panel_grid import panel_grid

FADE = 0.45
_MOST_POINTS = 100  # per person
_CAPTION = "Disc: reference point of a subject query, numbered from 1. It is the same for every image."
_ON_SQUARE = " The square stands for any image, whatever its shape."
_ON_IMAGE = " Boxes and sampling points of the last decoder layer belong to the queries that found a person."


@lists_options
def draw_subject_positions(
    models: Mapping[Any, AnyModel] | Iterable[AnyModel],
    image: ImageInput | None = None,
    *,
    ax: Axes | None = None,
    **options: Unpack[Options],
) -> Figure:
    """Draws the reference points of all subject queries: one panel per model.

    Without an image, those of the context queries are small grey dots. On an image, boxes and sampling points of each
    person found are shown, in the colour of the query that found them. Queries are numbered from 1, as people are;
    `People.queries` is an index, from 0.

    Args:
        models: models, or paths of native safetensors files, or None for the small weights that come with dsct. In a
            mapping the keys are N, or names for the titles.
        image: anything `load_image` reads; None draws the unit square instead.
        ax: draw the only model of `models` into these axes, without legend and caption.
        **options: as in `dsct.predict`, such as `score_threshold`.

    Returns:
        A new figure, or the figure of `ax`.

    Raises:
        TypeError: `models` is only one.
        ValueError: there is no model, or several for one `ax`, or a key of `models` is not the N of its model.

    Example:
        >>> import dsct
        >>> models = {n: dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=n)) for n in (1, 4, 9)}
        >>> [ax.get_title(loc="left") for ax in draw_subject_positions(models).axes]
        ['N = 1', 'N = 4', 'N = 9']
    """
    if isinstance(models, (str, os.PathLike)) or not isinstance(models, Iterable):
        raise TypeError(f"draw_subject_positions: models must be several, in a list or mapping, got {models!r:.80}")
    items = list(models.items()) if isinstance(models, Mapping) else [(None, model) for model in models]
    if not items:
        raise ValueError("draw_subject_positions: models must hold at least one model, got none")
    if ax is not None and len(items) > 1:
        raise ValueError(f"draw_subject_positions: ax takes one model, got {len(items)}")
    predictors = [Predictor(model, **options) for _, model in items]
    titles = [_title(key, predictor.model) for (key, _), predictor in zip(items, predictors, strict=True)]
    loaded = None if image is None else load_image(image)
    if ax is not None:
        _draw(ax, predictors[0], loaded)
        return cast(Figure, ax.get_figure(root=True))
    if loaded:
        legend = [point_in_legend("sampling points; size and opacity: attention weight", "0.6")]
    else:
        legend = [_context_in_legend()]
    figure, axes = panel_grid(
        len(items),
        min(len(items), 5) if len(items) != 4 else 4,
        loaded.width / loaded.height if loaded else 1.0,
        legend,
        with_note(
            _CAPTION + (_ON_IMAGE if loaded else _ON_SQUARE),
            next((predictor.note for predictor in predictors if predictor.note), None),
        ),
    )
    for one, predictor, title in zip(axes, predictors, titles, strict=True):
        _draw(one, predictor, loaded)
        one.set_title(title, fontsize=FONT, loc="left", parse_math=False)
    return figure


def _title(key: object, model: DSCT) -> str:
    number = model.config.num_subject_queries
    if isinstance(key, int) and key != number:
        raise ValueError(f"draw_subject_positions: models[{key}] must have {key} subject queries, got {number}")
    return f"N = {number}" if key is None or isinstance(key, int) else f"{key}: N = {number}"


def _draw(ax: Axes, predictor: Predictor, image: Image.Image | None) -> None:
    context, subject = _reference_points(predictor.model)
    if image is None:
        ax.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xticks=[], yticks=[])
        ax.plot(*context.T, **_context_style())
    else:
        show_image(ax, image, FADE)
        subject = subject * np.array(image.size, np.float32)
        for found in predictor.look(image).subjects:
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
    ax.text(float(point[0]), float(point[1]), str(query + 1), color=ink(color), bbox=disc, **style)


def _context_style() -> dict[str, Any]:
    return {"linestyle": "none", "marker": ".", "color": "0.65", "markersize": 4}


def _context_in_legend() -> Line2D:
    return Line2D([], [], label="reference points of the context queries", **_context_style())
