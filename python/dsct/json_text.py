"""Reading JSON: whatever is wrong with it, a sentence that says where it is from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8, with or without byte order mark.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, not UTF-8, or nested too deeply; the message names the file.
    """
    return parse_json(path.read_bytes(), path)


def read_json_object(path: Path) -> dict[str, Any]:
    """As :func:`read_json`, of a file that must hold an object.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else; the message names the file.
    """
    return _object(read_json(path), path)


def parse_json(text: str | bytes, source: object) -> Any:
    """The content of a JSON text.

    Args:
        text: JSON; bytes must be UTF-8.
        source: the file or what else the text is from, for the message.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deeply, or no text.

    Example:
        >>> parse_json('{"epochs": 3}', "config.json")
        {'epochs': 3}
        >>> parse_json("{", "config.json")
        Traceback (most recent call last):
        ...
        ValueError: config.json: not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    # A number of thousands of digits is a ValueError, too, and what a file holds in place of a text a TypeError.
    except (ValueError, RecursionError, TypeError) as error:
        raise ValueError(f"{source}: not JSON: {error}") from error


def parse_json_object(text: str | bytes, source: object) -> dict[str, Any]:
    """As :func:`parse_json`, of a text that must be an object.

    Raises:
        ValueError: it is something else.

    Example:
        >>> parse_json_object("[3]", "config.json")
        Traceback (most recent call last):
        ...
        ValueError: config.json: must be a JSON object, got list
    """
    return _object(parse_json(text, source), source)


def _object(content: Any, source: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{source}: must be a JSON object, got {type(content).__name__}")
    return content
