"""Reference points and sampling points of the people's queries, alone and with their context (paper, Fig. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput
from dsct.prediction.look import LayerLook, SubjectTrace, heaviest
from dsct.prediction.options import Options, lists_options
from dsct.prediction.person_colors import person_color
from dsct.prediction.predictor import Predictor
from dsct.prediction.shipped_weights import AnyModel
from dsct.visualize.drawing.figure import FONT, with_note
from dsct.visualize.drawing.image_axes import draw_numbered_boxes, say_nobody, show_image
from dsct.visualize.drawing.markers import draw_reference_point, draw_weighted_points, point_in_legend, star_in_legend
from dsct.visualize.drawing.panel_grid import panel_grid
from dsct.visualize.subject_trace import choose_people

FADE = 0.45
_CONTEXT_COLOR, _CONTEXT_EDGE = "black", "white"
_LEGEND = (
    star_in_legend("reference point of the person's query"),
    point_in_legend("its own sampling points", "0.6"),
    point_in_legend("sampling points of the context it takes in", _CONTEXT_COLOR, edge=_CONTEXT_EDGE),
)


@lists_options
def draw_sampling(
    model: AnyModel,
    image: ImageInput,
    *,
    layer: int = -1,
    people: Sequence[int] | None = None,
    contextual: bool = True,
    most_points: int = 300,
    ax: Axes | None = None,
    **options: Unpack[Options],
) -> Figure:
    """Draws where a decoder layer sampled the image for each person.

    The first panel has every person's own sampling points. Where the layer fuses, a further panel per person adds the
    sampling points of the context queries that flow into them.

    Args:
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct.
        image: anything `load_image` reads.
        layer: decoder layer, from 0; negative ones count from the last.
        people: which people, from 0 in the order of `dsct.predict`; None is all.
        contextual: whether the context is shown.
        most_points: draw this many of a person's sampling points, and of those of the context, by greatest weight.
        ax: draw all into these axes, without legend and caption.
        **options: as in `dsct.predict`, such as `score_threshold`.

    Returns:
        A new figure, or the figure of `ax`.

    Raises:
        ValueError: there is no such layer or person, or `most_points` is below 1.
        TypeError: the decoder of `model` cannot say where it looked.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> image = np.zeros((96, 128, 3), dtype=np.uint8)
        >>> figure = draw_sampling(model, image, score_threshold=0.0, people=[0, 1], short_side=96)
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['own sampling points', 'person 1 with context', 'person 2 with context']
    """
    if most_points < 1:
        raise ValueError(f"draw_sampling: most_points must be at least 1, got {most_points}")
    look = Predictor(model, **options).look(image)
    subjects = choose_people(look.subjects, people, "draw_sampling")
    looked = {index: _layer(subject, layer) for index, subject in subjects.items()}
    fusing = [index for index, at in looked.items() if contextual and len(at.context_weights)]
    if ax is not None:
        _draw(ax, look.image, subjects, looked, fusing, most_points)
        return cast(Figure, ax.get_figure(root=True))
    columns = 2 if len(fusing) in (1, 3) else 3
    legend = _LEGEND if fusing else _LEGEND[: 2 if looked else 0]
    caption = with_note(_caption(looked, contextual, most_points), look.note)
    shape = 1 + len(fusing), columns, look.image.width / look.image.height
    figure, (first, *others) = panel_grid(*shape, legend, caption)
    _draw(first, look.image, subjects, looked, [], most_points)
    first.set_title("own sampling points", fontsize=FONT, loc="left")
    for axes, index in zip(others, fusing, strict=True):
        _draw(axes, look.image, {index: subjects[index]}, looked, [index], most_points)
        axes.set_title(f"person {index + 1} with context", fontsize=FONT, loc="left")
    return figure


def _layer(subject: SubjectTrace, layer: int) -> LayerLook:
    layers = subject.layers
    if not -len(layers) <= layer < len(layers):
        said = f" (layer {layer + 1} in figures)" if layer >= 0 else ""
        raise ValueError(f"draw_sampling: layer must be in {-len(layers)}..{len(layers) - 1}, got {layer}{said}")
    return layers[layer]


def _caption(looked: dict[int, LayerLook], contextual: bool, most_points: int) -> str:
    if not looked:
        return ""
    text = "Size and opacity: weight, relative to the greatest of its kind. Points outside the image are not shown."
    if contextual and not any(len(at.context_weights) for at in looked.values()):
        return text + " This layer takes in no context."
    most = max(len(at.context_sampling_weights) for at in looked.values())
    if contextual and most > most_points:
        text += f" Of the {most} sampling points of a person's context, the {most_points} of greatest weight are drawn."
    return text


def _draw(
    ax: Axes,
    image: Image.Image,
    subjects: dict[int, SubjectTrace],
    looked: dict[int, LayerLook],
    with_context: list[int],
    most_points: int,
) -> None:
    show_image(ax, image, FADE)
    if not subjects:
        say_nobody(ax)
    for index in with_context:
        at = looked[index]
        points, weights = heaviest(at.context_sampling_points, at.context_sampling_weights, most_points)
        draw_weighted_points(ax, points, weights, _CONTEXT_COLOR, edge=_CONTEXT_EDGE)
    for index in subjects:
        points, weights = heaviest(looked[index].sampling_points, looked[index].sampling_weights, most_points)
        draw_weighted_points(ax, points, weights, person_color(index))
        draw_reference_point(ax, looked[index].reference_point, person_color(index))
    draw_numbered_boxes(ax, {index: subject.person.box for index, subject in subjects.items()})
