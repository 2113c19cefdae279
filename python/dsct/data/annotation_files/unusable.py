"""What of an annotation file cannot be used, alike in all readers: left out and counted, unless it is everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from dsct.data.annotation_files.raw_annotations import Changes, RawImage

MALFORMED_ROW = "malformed row"
UNKNOWN_CATEGORY = "unknown category"


class Unusable(ValueError):
    """One entry of a file cannot be used; the others can.

    Args:
        reason: under which it is counted.
        sentence: what is wrong with it.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def reason_of(error: Exception, otherwise: str) -> str:
    """The reason under which an entry with this error is counted.

    Example:
        >>> reason_of(Unusable(UNKNOWN_CATEGORY, "no class 9"), MALFORMED_ROW), reason_of(KeyError(), MALFORMED_ROW)
        ('unknown category', 'malformed row')
    """
    return error.reason if isinstance(error, Unusable) else otherwise


def ragged(changes: Changes) -> Callable[[int, str], None]:
    """What :func:`~dsct.data.annotation_files.csv_table.read_table` calls for a row that is too short or too long."""
    return lambda line, sentence: changes.lose(MALFORMED_ROW, f"line {line}: {sentence}")


def require_any(path: Path, images: Iterable[RawImage], changes: Changes, what: str) -> None:
    """Refuses a file of which the reader had to leave out everybody.

    Args:
        path: of the file, for the message.
        images: that the reader found.
        changes: what belongs to none of them.
        what: an entry of the file, such as ``"row"``.

    Raises:
        ValueError: something was left out, and nobody is there; the message names the first place.
    """
    images = list(images)
    if any(image.people for image in images):
        return
    places = [place for reason, found in changes.examples.items() if reason in changes.lost for place in found]
    places += [place for image in images for reason, place in image.examples if reason in image.left_out]
    if places:
        raise ValueError(f"{path}: no {what} can be used, the first: {places[0]}")
