"""The context that each decoder layer selects for a person, with its weights (paper, Fig. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput
from dsct.prediction.look import SubjectTrace
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
# relation -> colour, marker, rim, legend. Shapes differ, too: not everybody can tell colours apart.
STYLES = {
    "spatial": ("white", "o", "black", "context chosen because it is near"),
    "semantic": ("black", "D", "white", "context chosen by its content"),
    "all": ("white", "o", "black", "context, all of it"),
}
_CAPTION = (
    "Each mark is the reference point of a context query. Size and opacity: its weight in the sum that flows into the "
    "person, relative to the maximum of the panel, which is written above it. People and layers count from 1."
)


@lists_options
def draw_context(
    model: AnyModel,
    image: ImageInput,
    *,
    people: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
    ax: Axes | None = None,
    **options: Unpack[Options],
) -> Figure:
    """Draws which context queries flow into each person, and how much: one panel per person and decoder layer.

    Args:
        model: a model, the path of a native safetensors file, or None for the small weights that come with dsct.
        image: anything `load_image` reads.
        people: which people, from 0 in the order of `dsct.predict`; None is all.
        layers: decoder layers, from 0; negative ones count from the last. None is all.
        ax: draw the first of these people at the last of these layers into these axes, without legend and caption.
        **options: as in `dsct.predict`, such as `score_threshold`.

    Returns:
        A new figure, or the figure of `ax`.

    Raises:
        ValueError: there is no such layer or person.
        TypeError: the decoder of `model` cannot say where it looked.

    Example:
        >>> import dsct, numpy as np
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> image = np.zeros((96, 128, 3), dtype=np.uint8)
        >>> figure = draw_context(model, image, score_threshold=0.0, people=[0], short_side=96)
        >>> [ax.get_title(loc="left").split(":")[0] for ax in figure.axes]
        ['person 1, layer 1', 'person 1, layer 2']
    """
    look = Predictor(model, **options).look(image)
    subjects = choose_people(look.subjects, people, "draw_context")
    panels = [(index, layer) for index, subject in subjects.items() for layer in _layers(subject, layers)]
    if ax is not None:
        of_first = [panel for panel in panels if panel[0] == panels[0][0]]
        _draw(ax, look.image, subjects, of_first[-1:])
        return cast(Figure, ax.get_figure(root=True))
    per_person = max(1, len(panels) // max(1, len(subjects)))
    columns = 4 // per_person * per_person if per_person <= 4 else 3
    relations = dict.fromkeys(r for index, layer in panels for r in subjects[index].layers[layer].context_relation)
    legend = [star_in_legend("reference point of the person's query")]
    legend += [point_in_legend(STYLES[relation][3], *STYLES[relation][:3]) for relation in relations]
    shape = max(1, len(panels)), columns, look.image.width / look.image.height
    figure, axes = panel_grid(*shape, legend if panels else (), with_note(_CAPTION if panels else "", look.note))
    for number, one in enumerate(axes):
        _draw(one, look.image, subjects, panels[number : number + 1])
    return figure


def _layers(subject: SubjectTrace, layers: Sequence[int] | None) -> list[int]:
    count = len(subject.layers)
    if layers is not None and len(layers) == 0:
        raise ValueError("draw_context: layers must be None, for all, or name at least one, got none")
    for layer in layers or ():
        if not -count <= layer < count:
            said = f" (layer {layer + 1} in figures)" if layer >= 0 else ""
            raise ValueError(f"draw_context: layers must be in {-count}..{count - 1}, got {layer}{said}")
    return [layer % count for layer in (range(count) if layers is None else layers)]


def _draw(ax: Axes, image: Image.Image, subjects: dict[int, SubjectTrace], panel: list[tuple[int, int]]) -> None:
    """One person at one layer; without any, says that nobody was found."""
    show_image(ax, image, FADE)
    if not panel:
        return say_nobody(ax)
    ((person, layer),) = panel
    at = subjects[person].layers[layer]
    relations = np.array(at.context_relation, dtype=object)
    greatest = float(at.context_weights.max(initial=0.0))
    for relation in dict.fromkeys(at.context_relation):
        color, marker, edge, _ = STYLES[relation]
        of = relations == relation
        chosen = at.context_points[of], at.context_weights[of]
        # Above the star, which must not hide the nearest; what is chosen is visible even without weight.
        draw_weighted_points(ax, *chosen, color, marker, edge, greatest, smallest=0.35, scale=0.6, zorder=6)
    draw_reference_point(ax, at.reference_point, person_color(person))
    draw_numbered_boxes(ax, {person: subjects[person].person.box})
    said = f"max weight {greatest:.2f}" if len(relations) else "no context"
    ax.set_title(f"person {person + 1}, layer {layer + 1}: {said}", fontsize=FONT, loc="left")
