"""XML files, with errors that name the file, and numbers in any document."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser


class _NoEntities(TreeBuilder):
    """Refuses a document type, by which a small file can define entities that grow without bound or read others."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type (<!DOCTYPE …>) is not read")


def load_xml(path: Path) -> Element:
    """The root of an XML file without document type.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not XML, or has a document type.
    """
    parser = XMLParser(target=_NoEntities())
    try:
        parser.feed(path.read_bytes())
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: not an XML file that can be read: {error}") from error
    return root


def number(value: Any, name: str) -> float:
    """A number, or a text that is one.

    Raises:
        ValueError: it is neither.

    Example:
        >>> number("1.5", "xtl"), number(2, "x")
        (1.5, 2.0)
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be a number, got {value!r}") from error


def whole_size(width: Any, height: Any) -> tuple[int, int] | None:
    """(width, height), or ``None`` unless both are given and positive.

    Example:
        >>> whole_size("640", 480.0), whole_size(0, 0), whole_size(None, 3), whole_size(-640, 480)
        ((640, 480), None, None, None)
    """
    try:
        size = int(float(width)), int(float(height))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None
