"""What a check can find, how bad it is, and where it was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

MOST_PLACES = 5  # kept per finding

_SEVERITIES = {
    "error": (
        "no images",
        "no people",
        "record cannot be read",
        "classes differ between splits",
        "labels do not fit the classes",
        "missing image",
        "broken image",
        "width and height swapped",
        "image size differs",
    ),
    "warning": (
        "image in more than one split",
        "same content in more than one split",
        "image listed more than once",
        "skipped while reading",
        "more people than subject queries",
        "box outside the image",
        "box leaves the image",
        "degenerate box",
        "duplicate box",
        "person without a class",
        "class without people",
        "classes of nearly one name",
    ),
    "note": (
        "mended while reading",
        "same content more than once",
        "overlapping people",
        "image without people",
        "images not on disk",
    ),
}
_SEVERITY = {kind: severity for severity, kinds in _SEVERITIES.items() for kind in kinds}
_ORDER = list(_SEVERITY)


@dataclass(frozen=True)
class Location:
    """Where something was found.

    Attributes:
        split: name of the split.
        index: of the record in its split; ``None`` when no single record is meant.
        image: path of the image file, or empty.
        detail: what exactly, such as ``"person 2: 3 x 14 px"``.
    """

    split: str
    index: int | None = None
    image: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of problem.

    Attributes:
        severity: ``"error"`` (breaks or spoils training), ``"warning"`` or ``"note"``.
        kind: what it is, always in the same words.
        count: number of occurrences.
        splits: number of occurrences in each split.
        places: the first few.
    """

    severity: str
    kind: str
    count: int
    splits: dict[str, int]
    places: tuple[Location, ...]


@dataclass
class Findings:
    """Collects places by kind."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    places: dict[str, list[Location]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, place: Location, count: int = 1) -> None:
        self.counts[kind][place.split] += count
        if len(self.places[kind]) < MOST_PLACES:
            self.places[kind].append(place)

    def ordered(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(_SEVERITY[kind], kind, counts.total(), dict(counts), tuple(self.places[kind]))
            for kind, counts in sorted(self.counts.items(), key=lambda item: _ORDER.index(item[0]))
        )
