"""What the page shows of one picture: its people, and where the model looked for each of them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from PIL import Image

from dsct.visualize.subject_trace import LookedAt, SubjectTrace, heaviest, trace_subjects

if TYPE_CHECKING:
    from dsct.modules import DSCT

#: Pixels of the longer side of the picture in the page.
SHOWN_SIDE = 1600
#: Context queries sample thousands of points per person and layer; these many of the greatest weight are shown.
CONTEXT_POINTS = 200


def look(picture: Image.Image, model: DSCT, note: str | None = None) -> dict[str, Any]:
    """Runs the model once and describes what it found.

    Args:
        picture: upright RGB.
        model: in evaluation mode.
        note: what the reader must know about the weights.

    Returns:
        Plain values: `width` and `height` of the picture, `note`, `picture` (as a data URL, at most `SHOWN_SIDE`
        pixels long) and `people`, as in :meth:`dsct.People.to_dict`, each with `layers`, where the model looked.

    Example:
        >>> import dsct
        >>> sorted(look(Image.new("RGB", (64, 48)), dsct.DSCT(dsct.DSCTConfig.tiny())))
        ['height', 'note', 'people', 'picture', 'width']
    """
    return {
        "width": picture.width,
        "height": picture.height,
        "note": note,
        "people": [_person(trace) for trace in trace_subjects(picture, model)],
        "picture": _data_url(picture),
    }


def _person(trace: SubjectTrace) -> dict[str, Any]:
    person = trace.person
    return {
        "box": list(person.box),
        "score": person.score,
        "labels": list(person.labels),
        "probabilities": person.probabilities,
        "layers": [_layer(layer) for layer in trace.layers],
    }


def _layer(layer: LookedAt) -> dict[str, Any]:
    """Rounded: what is left is finer than anything that can be seen."""
    context = heaviest(layer.context_sampling_points, layer.context_sampling_weights, CONTEXT_POINTS)
    return {
        "reference_point": _rounded(layer.reference_point, 1),
        "sampling_points": _rounded(layer.sampling_points, 1),
        "sampling_weights": _rounded(layer.sampling_weights, 6),
        "context_points": _rounded(layer.context_points, 1),
        "context_weights": _rounded(layer.context_weights, 6),
        "context_relation": list(layer.context_relation),
        "context_sampling_points": _rounded(context[0], 1),
        "context_sampling_weights": _rounded(context[1], 6),
    }


def _rounded(values: NDArray[Any], decimals: int) -> Any:
    return values.astype(float).round(decimals).tolist()


def _data_url(picture: Image.Image) -> str:
    shown = picture.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
