"""Draws where the shipped weights looked for each person in a synthetic scene.

It makes a figure of the README: ``python examples/where_it_looked.py docs/where_it_looked.png``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from torchvision.transforms.functional import to_pil_image

from dsct.data import SyntheticDataset
from dsct.visualize import draw_sampling

SCENE = 3  # two people in a park; none of these scenes was seen in training


def main(path: Path) -> None:
    """Writes the PNG with a palette: a figure of so few colours needs no more."""
    pixels, _ = SyntheticDataset("test", size=SCENE + 1, image_size=(480, 360), seed=0)[SCENE]
    drawn = io.BytesIO()
    draw_sampling(None, to_pil_image(pixels)).savefig(drawn, dpi=100)
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
