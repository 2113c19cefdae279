"""The embedded data set as the command line offers it."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

from dsct.data.synthetic import SyntheticDataset
from dsct.data.transforms import Transform


class DatasetName(str, Enum):
    """Data sets that a command can work on."""

    synthetic = "synthetic"


class Split(str, Enum):
    """Parts of a data set."""

    train = "train"
    val = "val"
    test = "test"


def parse_size(text: str) -> tuple[int, int]:
    """``"320x240"`` -> (320, 240), width and height in pixels.

    Raises:
        ValueError: the text is of another form.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if match is None:
        raise ValueError(f"--image-size must be WIDTHxHEIGHT, such as 320x240, got {text!r}")
    return int(match[1]), int(match[2])


def synthetic_scenes(
    split: str, size: int, options: dict[str, Any], transforms: Transform, cache_dir: Path | None
) -> SyntheticDataset:
    """A split of the synthetic data set; `options` are its keyword arguments as kept in ``config.json``."""
    arguments = {**options, "image_size": tuple(options["image_size"])}
    return SyntheticDataset(split, size, **arguments, transforms=transforms, cache_dir=cache_dir)
