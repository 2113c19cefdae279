"""Opens many image files at once, only to find out whether they can be read and how large they are."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dsct.data.image_formats import open_image
from dsct.data.image_io import load_image, upright_size


@dataclass(frozen=True)
class ImageFile:
    """The properties of an image file.

    Attributes:
        size: (width, height) of the upright image in pixels; ``None`` if it cannot be read.
        missing: there is no such file.
        problem: why it cannot be read, else empty.
        digest: equal for files of equal content; ``None`` unless the image was decoded.
    """

    size: tuple[int, int] | None
    missing: bool = False
    problem: str = ""
    digest: bytes | None = None


def read_image_file(path: Path, decode: bool = True) -> ImageFile:
    """Opens a file and never raises for what it finds.

    Args:
        path: the image file.
        decode: decode every pixel as training does; otherwise only the header is read.

    Example:
        >>> read_image_file(Path("absent.jpg")).missing
        True
    """
    try:
        if not decode:
            return ImageFile(upright_size(path))
        content = path.read_bytes()
        if path.suffix == ".npy":
            return ImageFile(load_image(path).size, digest=hashlib.blake2b(content, digest_size=16).digest())
        with open_image(io.BytesIO(content)) as image:
            size = load_image(image).size
        return ImageFile(size, digest=hashlib.blake2b(content, digest_size=16).digest())
    except FileNotFoundError:
        return ImageFile(None, missing=True, problem="no such file")
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        sentence = str(error) or type(error).__name__
        return ImageFile(None, problem="not an image" if "cannot identify" in sentence else sentence)


def read_image_files(
    paths: Sequence[Path],
    decode: bool = True,
    workers: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> list[ImageFile]:
    """Opens all files in threads; Pillow decodes outside Python's lock, so the threads use all cores.

    Args:
        paths: the image files.
        decode: as in :func:`read_image_file`.
        workers: threads; by default Python's choice for the machine.
        on_image: called in this thread after every image.

    Returns:
        One result per path, in order. Ctrl-C stops after the current images.

    Example:
        >>> [file.missing for file in read_image_files([Path("a.jpg"), Path("b.jpg")])]
        [True, True]
    """
    files = []
    with _threads(workers) as executor:
        for file in executor.map(functools.partial(read_image_file, decode=decode), paths):
            files.append(file)
            on_image()
    return files


@contextmanager
def _threads(workers: int | None) -> Iterator[ThreadPoolExecutor]:
    """Like the executor's own ``with``, which after Ctrl-C would first finish everything in the queue."""
    executor = ThreadPoolExecutor(workers)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
