"""The synthetic scenes on the page: always the same ones, none of them seen in training."""

from __future__ import annotations

import io
from functools import lru_cache

from torchvision.transforms.functional import to_pil_image

from dsct.data.synthetic import SyntheticDataset

NUMBER_OF_SCENES = 8
_SCENES = SyntheticDataset("test", size=NUMBER_OF_SCENES, image_size=(480, 360), seed=0)


def scene_titles() -> list[str]:
    """What each scene shows.

    Example:
        >>> scene_titles()[0]
        'night, 2 people'
    """
    scenes = (_SCENES.scene(index) for index in range(NUMBER_OF_SCENES))
    counts = ((scene.far, len(scene.persons)) for scene in scenes)
    return [f"{far}, {count} {'person' if count == 1 else 'people'}" for far, count in counts]


@lru_cache(maxsize=NUMBER_OF_SCENES)
def scene_png(index: int) -> bytes:
    """One scene as a PNG file.

    Args:
        index: 0 to ``NUMBER_OF_SCENES - 1``.

    Raises:
        IndexError: there is no such scene.

    Example:
        >>> from PIL import Image
        >>> Image.open(io.BytesIO(scene_png(0))).size
        (480, 360)
    """
    pixels, _ = _SCENES[index]
    file = io.BytesIO()
    to_pil_image(pixels).save(file, "PNG")
    return file.getvalue()
