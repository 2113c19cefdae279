"""What the page shows of one image: its people, and where the model looked for each of them."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

from PIL import Image

from dsct.prediction.predictor import Predictor

#: Pixels of the longer side of the image in the page.
SHOWN_SIDE = 1600
#: Context queries sample thousands of points per person and layer; these many of the greatest weight are shown.
MOST_POINTS = 200
#: Of a pixel; what rounding leaves is finer than anything that can be seen.
DECIMALS = 1


def look(image: Image.Image, predictor: Predictor, note: str | None = None) -> dict[str, Any]:
    """Runs the model once and describes what it found.

    Args:
        image: upright RGB.
        predictor: what runs the model.
        note: what the reader must know about the weights.

    Returns:
        Plain values: `width` and `height` of the image, `note`, `people`, as in :meth:`dsct.People.to_dict`, each with
        `layers`, where the model looked, and `preview`: the image as a data URL, at most `SHOWN_SIDE` pixels long.

    Example:
        >>> import dsct
        >>> sorted(look(Image.new("RGB", (64, 48)), dsct.Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()))))
        ['height', 'note', 'people', 'preview', 'width']
    """
    people = [
        {**subject.person.to_dict(), "layers": [layer.to_dict(MOST_POINTS, DECIMALS) for layer in subject.layers]}
        for subject in predictor.look(image).subjects
    ]
    return {"width": image.width, "height": image.height, "note": note, "people": people, "preview": _data_url(image)}


def finite(value: float) -> float | None:
    """JSON has no infinity: what has no limit is None.

    Example:
        >>> finite(-math.inf), finite(0.1)
        (None, 0.1)
    """
    return value if math.isfinite(value) else None


def _data_url(image: Image.Image) -> str:
    shown = image.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
