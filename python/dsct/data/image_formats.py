"""Formats of still images that Pillow may not read: they are opened with the help of a package, or named."""

from __future__ import annotations

import os
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

HEIC, AVIF, JPEG_XL = "HEIC", "AVIF", "JPEG XL"

#: What the user can do about each.
_ADVICE = {
    HEIC: "pip install 'dsct[heif]' or convert it to JPEG or PNG",
    AVIF: "pip install 'pillow>=11.3' or convert it to JPEG or PNG",
    JPEG_XL: "convert it to JPEG or PNG",
}
#: Brands of files in ISO's container, in the first box; those of MP4 and QuickTime are others.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
}
_JPEG_XL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a")
_ENOUGH = 256  # bytes, for the first box


def still_format(start: bytes) -> str | None:
    r"""HEIC, AVIF or JPEG XL by the first bytes of a file; None for anything else, whatever that is.

    Example:
        >>> still_format(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif"), still_format(b"\0\0\0\x18ftypisom")
        ('AVIF', None)
    """
    if start.startswith(_JPEG_XL):
        return JPEG_XL
    if start[4:8] != b"ftyp" or start[8:12] not in _BRANDS:
        return None
    brands = {start[index : index + 4] for index in range(16, min(int.from_bytes(start[:4], "big"), len(start)), 4)}
    return AVIF if AVIF in map(_BRANDS.get, (start[8:12], *brands)) else _BRANDS[start[8:12]]


def still_format_of(path: str | os.PathLike[str]) -> str | None:
    """:func:`still_format` of a file; None also if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return still_format(file.read(_ENOUGH))
    except OSError:
        return None


def open_image(source: str | os.PathLike[str] | BinaryIO, formats: list[str] | None = None) -> Image.Image:
    r"""``PIL.Image.open``, also for HEIC where pillow-heif is installed, the extra ``heif``.

    Args:
        source: a path, or a file in memory.
        formats: Pillow's names of the formats to try; None tries all.

    Raises:
        OSError: it is no image, or one of a format that cannot be read here: then the message says what to do.

    Example:
        >>> import io
        >>> try:
        ...     open_image(io.BytesIO(b"\xff\x0a and more"))
        ... except OSError as error:
        ...     print(error)
        JPEG XL cannot be read: convert it to JPEG or PNG
    """
    try:
        return Image.open(source, formats=formats)
    except UnidentifiedImageError as error:
        if isinstance(source, str | os.PathLike):
            found, name = still_format_of(source), f"{os.fspath(source)}: "
        else:
            source.seek(0)
            found, name = still_format(source.read(_ENOUGH)), ""
        if found is None:
            raise
        if found == HEIC and _registers_heif():
            if not isinstance(source, str | os.PathLike):
                source.seek(0)
            return Image.open(source, formats=formats and [*formats, "HEIF"])
        raise OSError(f"{name}{found} cannot be read: {_ADVICE[found]}") from error


def _registers_heif() -> bool:
    """Teaches Pillow HEIC, if the package for it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
