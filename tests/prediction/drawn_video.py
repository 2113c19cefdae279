"""Synthetic scenes as images, and videos of them in forms that `dsct.video` does not write itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from dsct.data.synthetic import SyntheticDataset


def drawn(count: int, size: tuple[int, int] = (128, 96)) -> list[Image.Image]:
    """Different scenes with one to six people."""
    scenes = SyntheticDataset("test", size=count, image_size=size)
    return [Image.fromarray(scenes[index][0].permute(1, 2, 0).numpy()) for index in range(count)]


def encode(
    path: Path, images: Sequence[Image.Image], rate: int = 10, codec: str = "libx264", pix_fmt: str = "yuv420p",
    rotation: int = 0, mirrored: bool = False, pixel_shape: Fraction | None = None, first: int = 0, **options: Any,
) -> Path:  # fmt: skip
    """Writes a video with PyAV alone; `rotation`, counter-clockwise, and `mirrored` are told to the player.

    So is `pixel_shape`, width divided by height. Frames are numbered from `first`; those before 0 are not to be shown.
    """
    with av.open(str(path), "w", **options) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = images[0].size
        stream.pix_fmt = pix_fmt
        if rotation or mirrored:
            stream.set_display_rotation(rotation, mirrored)
        if pixel_shape is not None:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        if first:
            stream.codec_context.max_b_frames = 0
        for number, image in enumerate(images, start=first):
            frame = av.VideoFrame.from_ndarray(np.asarray(image))
            if first:
                frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode_sound(path: Path) -> Path:
    """A tenth of a second of silence."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
