"""The split that a folder, a subset or a key of an export means."""

from __future__ import annotations

from pathlib import PurePath

_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
_WORDS |= {"test": "test", "testing": "test"}


def split_of(word: str) -> str:
    """``train``, ``val``, ``test``, or nothing for any other word.

    Example:
        >>> split_of("Validation"), split_of("default")
        ('val', '')
    """
    return _WORDS.get(word.strip().lower(), "")


def split_of_path(path: PurePath) -> str:
    """The split that a folder of a path names, the last that does.

    Example:
        >>> split_of_path(PurePath("valid/images/a.png")), split_of_path(PurePath("images/a.png"))
        ('val', '')
    """
    return next(filter(None, map(split_of, reversed(path.parts[:-1]))), "")
