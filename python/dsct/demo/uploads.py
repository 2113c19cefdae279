"""From the bytes that a browser sends to an image, or to a one-line error."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

from PIL import Image

from dsct.data.image_formats import open_image, still_format
from dsct.data.image_io import UnsupportedPixels, load_image

MAX_BYTES = 20_000_000
#: Of a size that is announced; Python refuses to read numbers of thousands of digits.
MOST_DIGITS = 20
MAX_PIXELS = 50_000_000
#: A longer strip would be resized to nothing across.
MAX_ASPECT = 100

#: Pillow reads more, some of it with the help of other programs; these are the usual formats of images.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_NOT_AN_IMAGE = "This file is not an image that dsct reads: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."
_BROKEN = "This image is broken or incomplete."


class Refused(ValueError):
    """An upload that is not accepted.

    Attributes:
        status: the HTTP status that fits.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def receive(chunks: AsyncIterator[bytes], announced: str | None) -> bytes:
    """The body of a request, in memory.

    Args:
        chunks: the body as it comes in.
        announced: the header Content-Length, which may be missing or wrong.

    Raises:
        Refused: the body is empty or exceeds `MAX_BYTES`; the excess is never kept.
    """
    if announced is not None and announced.isdecimal():
        if len(announced) > MOST_DIGITS:
            raise _too_large(None)
        if int(announced) > MAX_BYTES:
            raise _too_large(int(announced))
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BYTES:
            raise _too_large(None)
    if not body:
        raise Refused(400, "This file is empty.")
    return bytes(body)


def read_image(data: bytes) -> Image.Image:
    """The image in `data`, upright RGB as :func:`dsct.data.image_io.load_image` returns it.

    Its size is read from the header and checked before anything is decoded: a few bytes may claim to be gigabytes.

    Raises:
        Refused: it is not an image of a known format, has more than `MAX_PIXELS`, is too narrow, broken, or
            holds floats or other pixels that have no colour to show.

    Example:
        >>> png = io.BytesIO()
        >>> Image.new("L", (6, 4)).save(png, "PNG")
        >>> image = read_image(png.getvalue())
        >>> image.mode, image.size
        ('RGB', (6, 4))
    """
    Image.init()
    try:
        # Pillow's decoders raise many kinds of errors for broken files, not only OSError.
        image = open_image(io.BytesIO(data), [name for name in FORMATS if name in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(None) from error
    except Exception as error:
        known = still_format(data) is not None
        raise Refused(415, f"{error}." if known else _NOT_AN_IMAGE) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_many_pixels(image.size)
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise Refused(422, f"This image is too narrow: one side may be at most {MAX_ASPECT} times the other.")
        try:
            image.load()
            return load_image(image)
        except UnsupportedPixels as error:
            raise Refused(422, f"This {str(error).removeprefix('load_image: ')}.") from error
        except Exception as error:
            raise Refused(422, _BROKEN) from error


def _too_large(size: int | None) -> Refused:
    found = "" if size is None else f", this one has {size / 1e6:.1f} MB"
    return Refused(413, f"This file is too large: the limit is {MAX_BYTES // 1_000_000} MB{found}.")


def _too_many_pixels(size: tuple[int, int] | None) -> Refused:
    found = "" if size is None else f", this one has {size[0]} x {size[1]}"
    return Refused(413, f"This image has too many pixels: the limit is {MAX_PIXELS // 1_000_000} million{found}.")
