"""What `dsct.predict` returns: the people of one image, their boxes and their emotions."""

from __future__ import annotations

import dataclasses
import html
import json
import operator
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from dsct.data.image_io import ImageInput

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from dsct.config import DSCTConfig


#: Fields with one entry per person.
_PER_PERSON = ("boxes", "scores", "labels", "probabilities", "queries")


class Truth(Protocol):
    """The truth about an image, such as a record of a data set.

    `boxes` are (n, 4) xyxy in pixels; `labels` are (n, C) 0/1, or (n,) class indices.
    """

    @property
    def boxes(self) -> Any: ...
    @property
    def labels(self) -> Any: ...


@dataclass(frozen=True)
class Person:
    """One person of an image.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the original image.
        score: ranks the people of an image; people are sorted by it. See `dsct.PostProcess`.
        labels: emotions the model reports: one in multi-class models, any number in multi-label models.
        probabilities: probability of every class, by name. They are independent and need not sum to 1.
    """

    box: tuple[float, float, float, float]
    score: float
    labels: tuple[str, ...]
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, for JSON: `box`, `score`, `labels` and `probabilities`."""
        return {
            "box": list(self.box),
            "score": self.score,
            "labels": list(self.labels),
            "probabilities": dict(self.probabilities),
        }


@dataclass(frozen=True, repr=False, eq=False)
class People:
    """The people found in one image, highest score first: a sequence of `Person`, of which slices are people too.

    Attributes:
        boxes: (n, 4) float32, xyxy in pixels of the original image, clipped to it.
        scores: (n,) float32.
        labels: per person, the names of the reported classes.
        probabilities: (n, C) float32.
        class_names: the C names.
        image_size: (width, height) of the original image, upright.
        source: the image as it was passed to `predict`.
        note: what the reader of these results must know about the weights, or None.
        queries: (n,) int64, the number, from 0, of the subject query that found each person; empty for people that no
            model found.

    Example:
        >>> import dsct
        >>> people = dsct.predict(np.zeros((64, 64, 3), dtype=np.uint8))
        >>> len(people) == len(people.boxes) == len(people.scores)
        True
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: list[list[str]]
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    source: ImageInput
    note: str | None = None
    queries: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Person: ...
    @overload
    def __getitem__(self, index: slice) -> People: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Person | People:
        """One person, or the people of a slice."""
        if isinstance(index, slice):
            parts = {name: getattr(self, name)[index] for name in _PER_PERSON}
            return dataclasses.replace(self, **parts)
        if not isinstance(index, SupportsIndex):
            raise TypeError(f"People: index must be a whole number or a slice, got {type(index).__name__}")
        if not -len(self) <= (index := operator.index(index)) < len(self):
            raise IndexError(f"People: index {index} is out of range for {_count(len(self))}")
        x1, y1, x2, y2 = (float(value) for value in self.boxes[index])
        probabilities = zip(self.class_names, self.probabilities[index].tolist(), strict=True)
        return Person((x1, y1, x2, y2), float(self.scores[index]), tuple(self.labels[index]), dict(probabilities))

    def __iter__(self) -> Iterator[Person]:
        return (self[index] for index in range(len(self)))

    @property
    def image_path(self) -> str | None:
        """The path of the image, or None if it was not read from a file."""
        return os.fspath(self.source) if isinstance(self.source, (str, os.PathLike)) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values: `image`, `width`, `height`, `note` and `people` (box, score, labels, probabilities)."""
        width, height = self.image_size
        people = [person.to_dict() for person in self]
        return {"image": self.image_path, "width": width, "height": height, "note": self.note, "people": people}

    def to_json(self, indent: int | None = 2) -> str:
        """`to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per person: image, person (from 1), x1, y1, x2, y2, score, labels (joined by ", "), every class.

        Raises:
            ImportError: pandas is not installed, the extra ``dataframe``.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("People.to_dataframe needs pandas: pip install 'dsct[dataframe]'") from error
        columns = ["image", "person", "x1", "y1", "x2", "y2", "score", "labels", *self.class_names]
        rows = [
            [self.image_path, number, *p.box, p.score, ", ".join(p.labels), *p.probabilities.values()]
            for number, p in enumerate(self, start=1)
        ]
        return pandas.DataFrame(rows, columns=columns)

    def plot(self, target: Truth | None = None, ax: Axes | None = None) -> Figure:
        """Draws the image with these people; see `dsct.visualize.draw_people`."""
        from dsct.visualize import draw_people

        return draw_people(self.source, self, target=target, ax=ax)

    def __repr__(self) -> str:
        where = f" in {self.image_path}" if self.image_path else ""
        people = "; ".join(self._describe(person) for person in self)
        return f"<People: {len(self)}{where}{': ' + people if people else ''}>"

    def __str__(self) -> str:
        width, height = self.image_size
        lines = [f"{self.image_path or 'image'} ({width} x {height}): {_count(len(self))}"]
        for number, person in enumerate(self, start=1):
            box = ", ".join(f"{value:.0f}" for value in person.box)
            lines.append(f"  {number}  {self._describe(person)}  (person score {person.score:.3f}, box {box})")
        if self.note:
            lines.append(f"note: {self.note}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        width, height = self.image_size
        caption = html.escape(f"{self.image_path or 'image'} ({width} x {height}): {_count(len(self))}")
        rows = "".join(
            f"<tr><td>{number}</td><td>{html.escape(self._describe(person))}</td><td>{person.score:.3f}</td>"
            f"<td>{', '.join(f'{value:.0f}' for value in person.box)}</td></tr>"
            for number, person in enumerate(self, start=1)
        )
        head = (
            "<tr><th>person</th><th>emotions</th><th>person score</th><th>box (x1, y1, x2, y2)</th></tr>"
            if rows
            else ""
        )
        note = f"<p><small>{html.escape(self.note)}</small></p>" if self.note else ""
        return f"<div><p>{caption}</p><table>{head}{rows}</table>{note}</div>"

    @staticmethod
    def _describe(person: Person) -> str:
        """Reported emotions with their probabilities, most probable first."""
        labels = sorted(person.labels, key=lambda label: -person.probabilities[label])
        return (
            ", ".join(f"{label} {person.probabilities[label]:.2f}" for label in labels)
            or "no emotion above its threshold"
        )


def people_of(
    result: Mapping[str, Tensor], config: DSCTConfig, source: ImageInput, size: tuple[int, int], note: str | None
) -> People:
    """One image's row of what :class:`dsct.PostProcess` returns, with names for numbers."""
    labels = result["labels"].cpu()
    indices = (
        [row.nonzero().flatten().tolist() for row in labels] if config.multi_label else labels.unsqueeze(1).tolist()
    )
    return People(
        boxes=result["boxes"].cpu().numpy(),
        scores=result["scores"].cpu().numpy(),
        labels=[[config.names[index] for index in row] for row in indices],
        probabilities=result["probabilities"].cpu().numpy(),
        class_names=config.names,
        image_size=size,
        source=source,
        note=note,
        queries=result["queries"].cpu().numpy(),
    )


def _count(number: int) -> str:
    return "1 person" if number == 1 else f"{number or 'no'} people"
