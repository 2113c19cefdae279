"""All images of a data set in one file: a NumPy array (size, H, W, 3) of bytes, and behind it the digest of all before.

The digest is compared when the file is opened. NumPy reads the file, too, and does not see the digest.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int, int]

_DIGEST = hashlib.sha256().digest_size


def open_cache(path: Path, shape: Shape, images: Iterable[NDArray[np.uint8]]) -> None:
    """Draws all images into one file unless it is there and whole; it gets its name only when complete.

    A warning says of a file that is damaged, or from before there were digests, that it is drawn anew.

    Args:
        path: the file; missing folders are created.
        shape: (size, H, W, 3).
        images: are drawn only if they are needed.

    Raises:
        OSError: the file cannot be read or written; the error names it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "cache_dir cannot hold the images: a folder has their name", str(path))
    if path.exists():
        if (fault := _fault(path, shape)) is None:
            return
        sentence = f"{path} is damaged or of an earlier version and is drawn anew: {fault}"
        warnings.warn(sentence, stacklevel=4)  # where the data set is made
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as workplace:
            partial = Path(workplace) / path.name
            _write(partial, shape, images)
            os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, f"cache_dir cannot hold the images: {error.strerror}", str(path)) from error


def cached_image(path: Path, shape: Shape, index: int) -> NDArray[np.uint8]:
    """One image (H, W, 3) of the file, which is opened for it: what holds `path` can be sent to other processes.

    Args:
        path: a file of :func:`open_cache`.
        shape: (size, H, W, 3).
        index: 0 to size - 1.

    Raises:
        OSError: the file cannot be read; the error names it.
        ValueError: it has become shorter since it was opened; the message names it.
    """
    number = int(np.prod(shape[1:]))
    # Read, not mapped: a mapped file that becomes shorter ends the process by a signal.
    with path.open("rb") as file:
        file.seek(len(_header(shape)) + index * number)
        content = file.read(number)
    if len(content) < number:
        raise ValueError(f"{path} was changed while it was in use: it ends before image {index}")
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape[1:])


def _header(shape: Shape) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _write(path: Path, shape: Shape, images: Iterable[NDArray[np.uint8]]) -> None:
    """Written, not mapped: a full disk ends a process that writes to a mapped file."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in itertools.chain([_header(shape)], (image.tobytes() for image in images)):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


def _fault(path: Path, shape: Shape) -> str | None:
    """What is wrong with a file, or None."""
    header = _header(shape)
    wanted, size = len(header) + int(np.prod(shape)) + _DIGEST, path.stat().st_size
    if size != wanted:
        return f"it has {size} bytes, must have {wanted}"
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            return f"it does not begin as an array of {shape} bytes does"
        file.seek(0)
        digest, left = hashlib.sha256(), wanted - _DIGEST
        while part := file.read(min(left, 1 << 20)):
            digest.update(part)
            left -= len(part)
        if file.read() != digest.digest():
            return "its content does not have the digest stored with it"
    return None
