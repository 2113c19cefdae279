"""One changed place of a source file, and a random sample of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """Of a character: line from 1, column from 0."""

    line: int
    column: int


@dataclass(frozen=True)
class Mutant:
    """A source file with one change.

    Attributes:
        file: its path from the root of the project.
        start: of what is replaced.
        end: behind it.
        change: name of the change; with `number` it is known to the library that found it.
        number: which of the places in the file where the change is possible.
    """

    file: str
    start: Place
    end: Place
    change: str
    number: int = 0

    def key(self, source: str) -> str:
        """Tells the mutant from all others, also from the same one of another version of the file."""
        digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        return f"{self.file}@{digest}:{self.start.line}:{self.start.column} {self.change} {self.number}"


def sample(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """One mutant each of `count` random places; a larger sample begins with a smaller one of the same seed.

    A change of one file leaves the order of the places of all others.
    """
    places: dict[tuple[str, Place, Place], list[Mutant]] = {}
    for mutant in mutants:
        places.setdefault((mutant.file, mutant.start, mutant.end), []).append(mutant)
    generators = {place: random.Random(f"{seed} {place}") for place in places}
    order = sorted(places, key=lambda place: generators[place].random())
    return [generators[place].choice(places[place]) for place in order[:count]]
