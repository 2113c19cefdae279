"""Images per second and core from JPEG files to training input: decode, augment, normalise.

Ours is what data sets do: Pillow decodes, and the training transform works on a uint8 tensor. Each peer is another way
through the same libraries to the same augmentation, one thread as in a worker of a DataLoader.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from dsct.data import SyntheticDataset, training_transform
from dsct.data.image_io import load_image
from dsct.data.records import Target
from dsct.data.transforms import SHORT_SIDE

from . import program
from .agreement import require
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired

Sample = tuple[Tensor, Target]
Route = Callable[["Photograph"], Sample]

QUALITY = 90
TOLERANCE = 0.02  # another resampling rounds otherwise; Pillow's smaller decode is another low pass and gets more
DRAFT_TOLERANCE = 0.1


@dataclass(frozen=True)
class Photograph:
    """Content of a JPEG file and the people in it."""

    content: bytes
    target: Target


def photographs(count: int, width: int, height: int) -> list[Photograph]:
    """Synthetic scenes with a smooth random texture, which gives them about the bytes per pixel of photographs."""
    scenes = SyntheticDataset(size=count, image_size=(width, height))
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        pixels = scenes[index][0].permute(1, 2, 0).numpy() + _texture(rng, width, height)[..., None]
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
        made.append(Photograph(file.getvalue(), scenes.annotations(index).to_target(index)))
    return made


def _texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Random grids from coarse to fine, made large: the finer, the fainter."""
    texture = np.zeros((height, width), np.float32)
    cells = 4
    while cells <= width // 2:
        grid = rng.normal(size=(max(2, cells * height // width), cells)).astype(np.float32)
        texture += 60 / cells**0.4 * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        cells *= 2
    return texture


def with_pillow(photograph: Photograph) -> Image.Image:
    """As `dsct.data.image_io` opens a file."""
    with Image.open(io.BytesIO(photograph.content)) as file:
        return load_image(file)


def with_torchvision(photograph: Photograph) -> Tensor:
    """(3, H, W) uint8."""
    content = torch.frombuffer(bytearray(photograph.content), dtype=torch.uint8)
    return decode_jpeg(content, ImageReadMode.RGB, apply_exif_orientation=True)


def with_draft(photograph: Photograph) -> Image.Image:
    """Decoded at 1/2, 1/4 or 1/8 where the short side still is as long as the longest that training asks for."""
    with Image.open(io.BytesIO(photograph.content)) as file:
        scale = SHORT_SIDE / min(file.size)
        file.draft("RGB", (round(file.width * scale), round(file.height * scale)))
        return load_image(file)


def route(decode: Callable[[Photograph], Any], pillow: bool = False) -> Route:
    """From a file to a sample.

    Args:
        decode: gives a Pillow image or a tensor.
        pillow: augment Pillow's image instead of a uint8 tensor.
    """
    augment = training_transform()
    if pillow:
        augment = v2.Compose(augment.transforms[1:])  # type: ignore[attr-defined]  # without `ToImage`

    def load(photograph: Photograph) -> Sample:
        image, target = decode(photograph), photograph.target
        width, height = image.size if isinstance(image, Image.Image) else (image.shape[2], image.shape[1])
        boxes = target["boxes"]
        if boxes.canvas_size != (height, width):
            boxes = v2.functional.resize(boxes, [height, width])
        return augment(image if pillow else v2.functional.to_image(image), {**target, "boxes": boxes})

    return load


OURS = route(with_pillow)
PEERS = {
    "augmenting Pillow's image": route(with_pillow, pillow=True),
    "decode_jpeg": route(with_torchvision),
}
DRAFT_PEERS = {"Pillow's draft": route(with_draft)}


def epoch(load: Route, files: list[Photograph]) -> Callable[[], None]:
    """All files once; the augmentation is the same in every call, whatever the route."""

    def call() -> None:
        for index, photograph in enumerate(files):
            torch.manual_seed(index)
            load(photograph)

    return call


def check(peer: Route, files: list[Photograph], tolerance: float) -> None:
    """The same random choices give the same image, except for rounding, and the same people and boxes."""
    for index, photograph in enumerate(files):
        samples = []
        for load in (OURS, peer):
            torch.manual_seed(index)
            image, target = load(photograph)
            samples.append((image, target["boxes"], target["labels"].float()))
        require("loader", *samples, (tolerance, 1e-3, 0.0))


def cpu_clock(count: int) -> Callable[[Callable[[], Any]], float]:
    """Seconds of this thread per image; another program on the same core does not count."""

    def clock(step: Callable[[], Any]) -> float:
        start = time.thread_time()
        step()
        return (time.thread_time() - start) / count

    return clock


def measure(options: Options) -> list[Table]:
    """Photographs of usual and of large size, the large ones also decoded at a smaller scale."""
    torch.set_num_threads(1)
    count = 2 if options.quick else 16
    table = Table(
        "JPEG files to training input",
        ["photograph", "peer", *COMPARISON_COLUMNS, "ours, images/s", "peer, images/s"],
        note=f"Per image, one thread whatever `--threads` says, CPU time of that thread; {count} files of quality "
        f"{QUALITY}. Ours: Pillow decodes, the transform works on a uint8 tensor. Draft: decoded at a smaller scale "
        f"down to {SHORT_SIDE} pixels, never of use at 800 x 600. Images and boxes were equal "
        "before, but for rounding.",
    )
    sizes = [(800, 600, PEERS), (2400, 1800, {**PEERS, **DRAFT_PEERS})]
    for width, height, peers in sizes:
        files = photographs(count, width, height)
        for name, peer in peers.items():
            check(peer, files[:4], DRAFT_TOLERANCE if name in DRAFT_PEERS else TOLERANCE)
            times = paired(epoch(OURS, files), epoch(peer, files), options.budget, cpu_clock(count))
            kilobytes = sum(len(file.content) for file in files) / count / 1e3
            table.compare([f"{width} x {height}, {kilobytes:.0f} kB", name], times)
            table.rows[-1].extend([1 / times.ours_median, 1 / times.peer_median])
    return [table]


if __name__ == "__main__":
    program.run("loader", __doc__, measure)
