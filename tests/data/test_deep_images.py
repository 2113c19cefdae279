"""Images of 16 bits per channel: as bright as they are, in every mode and byte order that Pillow has for them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsct.data.image_io import load_image, upright_size

GREY = np.array([[0, 257, 32896, 65535, 256, 65279, 513]], dtype=np.uint16)
EXPECTED = GREY[0] / 257
"""The same brightness with 255 for white."""

PNG_COLORS = {"grey": (0, 1, 0), "RGB": (2, 3, 0), "grey and alpha": (4, 1, 1), "RGB and alpha": (6, 3, 1)}
"""Number of the kind of PNG, channels of colour and of transparency."""


def channels(colors: int, alphas: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.stack([GREY] * colors + [np.full_like(GREY, 65535)] * alphas, axis=-1)


def write_png(path: Path, kind: int, colors: int, alphas: int) -> Path:
    """Pillow writes no 16-bit PNG but grey ones."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", GREY.shape[1], 1, 16, kind, 0, 0, 0)
    rows = zlib.compress(b"\0" + channels(colors, alphas).astype(">u2").tobytes())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def write_tiff(path: Path, order: str, colors: int) -> Path:
    """One row, uncompressed."""
    pixels = channels(colors, 0).astype(f"{order}u2").tobytes()
    place = 8 + 2 + 9 * 12 + 4  # behind the header and the table: the bits of each channel, then the pixels
    bits = struct.pack(f"{order}{colors}H", *[16] * colors)
    short, long = "HHIHH", "HHII"
    entries = [
        (long, 256, 4, 1, GREY.shape[1]), (long, 257, 4, 1, 1),
        (short, 258, 3, 1, 16, 0) if colors == 1 else (long, 258, 3, colors, place),
        (short, 259, 3, 1, 1, 0), (short, 262, 3, 1, 1 if colors == 1 else 2, 0), (long, 273, 4, 1, place + len(bits)),
        (short, 277, 3, 1, colors, 0), (long, 278, 4, 1, 1), (long, 279, 4, 1, len(pixels)),
    ]  # fmt: skip
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    table = b"".join(struct.pack(f"{order}{form}", *values) for form, *values in entries)
    path.write_bytes(start + table + struct.pack(f"{order}I", 0) + bits + pixels)
    return path


def assert_as_bright(image: Image.Image) -> None:
    pixels = np.asarray(image)
    assert (image.mode, pixels.shape) == ("RGB", (*GREY.shape, 3))
    assert np.abs(pixels[0] - EXPECTED[:, None]).max() <= 1
    assert pixels[0, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", PNG_COLORS.values(), ids=PNG_COLORS.keys())
def test_png(kind: tuple[int, int, int], tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", *kind)
    assert upright_size(path) == (7, 1)
    assert_as_bright(load_image(path))


@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff(order: str, colors: int, tmp_path: Path) -> None:
    assert_as_bright(load_image(write_tiff(tmp_path / "a.tiff", order, colors)))


def test_pgm(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 7 1 65535\n" + GREY.astype(">u2").tobytes())
    assert_as_bright(load_image(tmp_path / "a.pgm"))


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2"), ("I;16N", "=u2")])
def test_modes_of_pillow(mode: str, kind: str) -> None:
    image = Image.frombytes(mode, (7, 1), GREY.astype(kind).tobytes())
    assert_as_bright(load_image(image))
    image.getexif()[0x0112] = 3  # turned upside down
    assert_as_bright(load_image(image).transpose(Image.Transpose.ROTATE_180))


def test_arrays_of_16_bits_are_refused() -> None:
    with pytest.raises(TypeError, match=r"image array must be uint8 \(0 to 255\), got uint16"):
        load_image(GREY)
