"""People that a model cannot find because an image holds more of them than the model has subject queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from dsct.data.records import Annotations


class HasAnnotations(Protocol):
    """A data set whose annotations can be read without opening an image."""

    def __len__(self) -> int: ...

    def annotations(self, index: int, /) -> Annotations: ...


class Crowding(NamedTuple):
    """The result of :func:`people_beyond`.

    Attributes:
        beyond: people for whom no subject query is left.
        people: all people.
        largest: people in the image that has most.
        num_subject_queries: of the model.
    """

    beyond: int
    people: int
    largest: int
    num_subject_queries: int

    def __str__(self) -> str:
        """One sentence, also where nobody is beyond."""
        share = f"{self.beyond:,} of {self.people:,} people ({self.beyond / max(self.people, 1):.1%})"
        beyond = f"beyond num_subject_queries={self.num_subject_queries}"
        return f"{share} are {beyond}; the largest image has {self.largest}"


def people_beyond(data: HasAnnotations, num_subject_queries: int) -> Crowding:
    """Counts the people that a model with so few subject queries can never find.

    Args:
        data: a data set; no image is opened.
        num_subject_queries: of the model, at least 1.

    Raises:
        ValueError: `num_subject_queries` is below 1.

    Example:
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> print(people_beyond(SyntheticDataset("train", 20), 1))
        31 of 51 people (60.8%) are beyond num_subject_queries=1; the largest image has 6
    """
    return crowding((len(data.annotations(index)) for index in range(len(data))), num_subject_queries)


def crowding(people_per_image: Iterable[int], num_subject_queries: int) -> Crowding:
    """As :func:`people_beyond`, from the number of people in every image.

    Example:
        >>> crowding([8, 2], 4).beyond
        4
    """
    if num_subject_queries < 1:
        raise ValueError(f"num_subject_queries must be at least 1, got {num_subject_queries}")
    counts = list(people_per_image)
    beyond = sum(max(0, count - num_subject_queries) for count in counts)
    return Crowding(beyond, sum(counts), max(counts, default=0), num_subject_queries)
