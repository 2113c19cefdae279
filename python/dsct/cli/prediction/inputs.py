"""The inputs of ``dsct predict``: images and videos."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dsct.data.image_formats import still_format_of

IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".pbm", ".pgm",
    ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp",
})  # fmt: skip
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm", ".wmv",
})  # fmt: skip
"""Without .ts, which in most folders is TypeScript."""


class Input(NamedTuple):
    """A file to read."""

    path: Path
    is_video: bool


def collect(
    paths: Sequence[Path], on_error: Callable[[Path, Exception], None] | None = None
) -> tuple[list[Input], Counter[str]]:
    """Finds the images and videos in files and folders, each once.

    A folder is read with its subfolders, in natural order (2 before 10), without hidden files and linked folders; there
    the name of a file says what it is. A file given by its own path is read whatever its name is; its content decides.

    Args:
        paths: files and folders.
        on_error: called with a path that does not exist, cannot be read or contains no image and no video, and the
            error; the others are continued. None raises the error.

    Returns:
        The files in order, and the number of other files in the folders, by suffix.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: a folder contains no image and no video.
        OSError: a folder cannot be read.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("10.jpg", "2.jpg", "clip.mp4", "notes.txt"):
        ...     (folder / name).touch()
        >>> files, others = collect([folder])
        >>> [file.path.name for file in files], dict(others)
        (['2.jpg', '10.jpg', 'clip.mp4'], {'.txt': 1})
    """
    found: dict[Path, Input] = {}
    others: Counter[str] = Counter()
    for path in paths:
        try:
            wanted = _inside(path, others) if path.is_dir() else [_named(path)]
        except (OSError, ValueError) as error:
            if on_error is None:
                raise
            on_error(path, error)
            continue
        for item in wanted:
            found.setdefault(item.path, item)
    return list(found.values()), others


def _inside(folder: Path, others: Counter[str]) -> list[Input]:
    """The images and videos of a folder; its other files are added to `others`."""
    inside = list(_walk(folder))
    wanted = [Input(file, _is_video_name(file)) for file in inside if _is_image_or_video_name(file)]
    if not wanted:
        others_there = f", but {len(inside)} other {'file' if len(inside) == 1 else 'files'}" if inside else ""
        raise ValueError(f"{folder} contains no image and no video{others_there}")
    others.update(file.suffix.lower() for file in inside if not _is_image_or_video_name(file))
    return wanted


def _named(path: Path) -> Input:
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return Input(path, _is_video(path))


def _walk(folder: Path) -> Iterator[Path]:
    """The visible files below a folder in natural order, each folder's own files before those of its subfolders."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        yield from (Path(parent, name) for name in sorted(files, key=_natural) if not name.startswith("."))


def _natural(name: str) -> tuple[list[str | int], str]:
    """Numbers in a name by value, letters whatever their case; the name itself decides between equals."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _is_video_name(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_image_or_video_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def _is_video(path: Path) -> bool:
    """By name; a file with another name that Pillow does not read, and that is no still image, can only be a video."""
    if _is_image_or_video_name(path):
        return _is_video_name(path)
    try:
        with Image.open(path):
            return False
    except OSError:
        return still_format_of(path) is None
