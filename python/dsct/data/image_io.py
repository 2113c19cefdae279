"""Reading images: whatever the user has becomes an RGB image, as a person would see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from dsct.data.image_formats import open_image

ImageInput: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | torch.Tensor"

_TURNED_BY_A_QUARTER = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ACCEPTED = "a path, a PIL image, an RGB array (H, W, 3) or (H, W), or a tensor (3, H, W)"


class UnsupportedPixels(ValueError):
    """An image that is whole, but of a mode or with values that no RGB image follows from."""


def load_image(image: ImageInput) -> Image.Image:
    """Returns `image` as an 8-bit RGB image, upright and opaque.

    Files and PIL images are turned upright by their EXIF orientation. Transparent pixels are drawn over white, as most
    viewers do. 16-bit grey is scaled to 8 bit (65535 is white), not clipped. Palette, grey, CMYK and
    bilevel images are converted; of an animation the first frame is read. Embedded colour profiles are not applied.
    HEIC needs the extra ``heif``.

    Arrays and tensors are assumed to be RGB. OpenCV uses BGR: pass `image[..., ::-1]`.

    Args:
        image: a path, also of a ``.npy`` file with such an array; a PIL image; a uint8 array (H, W, 3) or (H, W); or a
            tensor (3, H, W), uint8 or floating point in [0, 1], on any device.

    Returns:
        A PIL image of mode "RGB". Its `size` is (width, height).

    Raises:
        TypeError: `image` is something else, or an array or tensor of another dtype.
        ValueError: the shape is wrong, a side is zero, or floats lie outside [0, 1]; :class:`UnsupportedPixels` for a
            PIL image or file of a mode that has no RGB, such as 32-bit float.
        FileNotFoundError: there is no such file.
        OSError: the file is not an image that Pillow can read (of HEIC, AVIF and JPEG XL it says how to), is damaged
            or truncated, or claims more pixels than Pillow accepts.

    Example:
        >>> import numpy as np
        >>> load_image(np.zeros((4, 6), dtype=np.uint8)).size
        (6, 4)
    """
    if isinstance(image, (str, os.PathLike)):
        if os.fspath(image).endswith(".npy"):
            return _from_array(_array_file(image))
        with _reading(image), open_image(image) as file:
            file.load()
            return _from_pil(file)
    if isinstance(image, Image.Image):
        found = _from_pil(image)
        return found.copy() if found is image else found
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, torch.Tensor):
        return _from_tensor(image)
    raise TypeError(f"load_image: image must be {_ACCEPTED}, got {type(image).__name__}")


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) in pixels of the image that :func:`load_image` returns, from the header of the file alone.

    Args:
        path: the image file.

    Raises:
        OSError: it is missing or not an image.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "image.png"
        >>> Image.new("RGB", (6, 4)).save(file)
        >>> upright_size(file)
        (6, 4)
    """
    if os.fspath(path).endswith(".npy"):
        height, width = _array_file(path).shape[:2]
        return width, height
    with _reading(path), open_image(path) as image:
        width, height = image.size
        # PNG's own method would decode the whole image to look for EXIF data behind it.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    return (height, width) if orientation in _TURNED_BY_A_QUARTER else (width, height)


def turned_by_exif(path: str | os.PathLike[str]) -> bool:
    """Whether EXIF exchanges the width and the height of an image file: it is stored lying and shown upright.

    Args:
        path: the image file.

    Raises:
        OSError: it is missing or not an image.
    """
    if os.fspath(path).endswith(".npy"):
        return False
    with _reading(path), open_image(path) as image:
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation) in _TURNED_BY_A_QUARTER


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Pillow raises nearly anything for damaged files, and an error of its own for sizes that are too large."""
    try:
        yield
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:
        raise OSError(f"{os.fspath(path)} is no image that can be read: {error}") from error


def _from_pil(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise ValueError(f"load_image: image must have at least one pixel, got size {image.size}")
    # Copying what is already fine would take as long as decoding.
    upright = image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        return _from_16_bit(upright)
    if upright.mode == "F":
        raise UnsupportedPixels(
            "load_image: image must have integer pixels, got a PIL image of mode 'F' (32-bit float), which is not "
            "supported"
        )
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bit. Pillow's own conversion clips, which turns most of a 16-bit photo white."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise UnsupportedPixels(
            f"load_image: image of mode {image.mode!r} must contain 16-bit grey in [0, 65535], "
            f"got [{pixels.min()}, {pixels.max()}]"
        )
    return Image.fromarray((pixels // 257).astype(np.uint8)).convert("RGB")


def _array_file(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of a ``.npy`` file, read when it is used; pickled objects, which could run code, are refused."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise OSError(f"{os.fspath(path)} is no array that can be read: {error}") from error
    if array.ndim not in (2, 3):
        raise OSError(f"{os.fspath(path)} must hold an array (H, W, 3) or (H, W), got {array.shape}")
    return array


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8:
        raise TypeError(f"load_image: image array must be uint8 (0 to 255), got {array.dtype}")
    is_grey, is_rgb = array.ndim == 2, array.ndim == 3 and array.shape[2] == 3
    if not (is_grey or is_rgb) or array.size == 0:
        raise ValueError(f"load_image: image array must be (H, W, 3) or (H, W), not empty, got {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _from_tensor(tensor: torch.Tensor) -> Image.Image:
    if tensor.ndim != 3 or tensor.shape[0] != 3 or tensor.numel() == 0:
        raise ValueError(f"load_image: image tensor must be (3, H, W), not empty, got {tuple(tensor.shape)}")
    pixels = tensor.detach().cpu()
    if pixels.is_floating_point():
        # Negated, so that NaN is refused too.
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise ValueError(
                "load_image: a floating-point image tensor must lie in [0, 1], before any normalisation, "
                f"got [{float(pixels.min()):.3g}, {float(pixels.max()):.3g}]"
            )
        pixels = (pixels.float() * 255).round().to(torch.uint8)
    elif pixels.dtype != torch.uint8:
        raise TypeError(f"load_image: image tensor must be uint8 or floating point, got {pixels.dtype}")
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
