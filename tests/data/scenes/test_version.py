"""The same parameters give the same scenes, on every machine and in every release of one `VERSION`.

``python -m tests.data.scenes.test_version`` writes the image to compare with, once `VERSION` is raised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dsct.data.synthetic import VERSION, SyntheticDataset

SCENES = Path(__file__).with_name(f"version_{VERSION}.png")
#: Of the mean of a block of 4 by 4 pixels: processors differ in the last digit of a coordinate, and a pixel at an edge.
TOLERANCE = 4
COLUMNS = 6


def reduced_scenes() -> np.ndarray:
    """Scenes of all difficulties, in rows of one each, and every pixel the mean of 4 by 4."""
    rows = []
    for difficulty in (0.0, 0.3, 0.6, 1.0):
        data = SyntheticDataset(size=COLUMNS, difficulty=difficulty, image_size=(160, 120), seed=int(10 * difficulty))
        images = [data[index][0].permute(1, 2, 0).double().reshape(30, 4, 40, 4, 3) for index in range(COLUMNS)]
        rows.append(np.hstack([image.mean((1, 3)).numpy() for image in images]))
    return np.vstack(rows)


def test_scenes_are_those_of_their_version() -> None:
    with Image.open(SCENES) as image:
        expected = np.asarray(image.convert("RGB"), dtype=float)
    difference = np.abs(reduced_scenes() - expected).max(2)
    assert difference.max() <= TOLERANCE, f"differs in {(difference > TOLERANCE).sum()} blocks: raise VERSION"


if __name__ == "__main__":
    Image.fromarray(reduced_scenes().round().astype(np.uint8)).save(SCENES, optimize=True)
