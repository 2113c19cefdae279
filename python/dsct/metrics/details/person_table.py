"""A row per annotated person: what the data say, and what the model says."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsct.complete_files import replaced_when_complete
from dsct.metrics import assignment
from dsct.metrics.assignment import Floats
from dsct.metrics.images import Images
from dsct.metrics.protocols import Verdict
from dsct.metrics.thresholds import UNFITTED

if TYPE_CHECKING:
    import pandas

CONTINUOUS = ("valence", "arousal", "dominance")
FORMATS = (".csv", ".parquet")
_CORNERS = ("x1", "y1", "x2", "y2")
_EXTRA = "pip install 'dsct[dataframe]'"


@dataclass(frozen=True, eq=False)
class PersonTable:
    """Every annotated person of an evaluation with the prediction that counts for them.

    Columns, in this order; where there is no prediction or the data say nothing, a cell is None:

    * ``image``, and ``person``, from 1 in each image as annotated; ``people``, the number in the image;
    * ``true_x1`` … ``true_y2`` and ``predicted_x1`` … in pixels, and ``iou`` of the two boxes;
    * ``score`` of the prediction, which ranks the predictions of an image;
    * ``true_labels`` and ``predicted_labels``, joined by ``|``;
    * ``probability_`` and the name of each class;
    * each attribute that the data have, such as ``age``, and ``valence``, ``arousal``, ``dominance`` if they have any.

    Attributes:
        protocol: the protocol under which predictions are assigned to people.
        columns: name -> one value per person.

    Example:
        >>> table = PersonTable("official", {"image": ["a.jpg"], "person": [1]})
        >>> table.rows()
        [{'image': 'a.jpg', 'person': 1}]
    """

    protocol: str
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        """Number of people."""
        return len(self.columns["image"])

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per person."""
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]

    def to_dataframe(self) -> pandas.DataFrame:
        """The table in pandas.

        Raises:
            ImportError: the package pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(f"PersonTable.to_dataframe needs pandas: {_EXTRA}") from error
        return pandas.DataFrame(self.columns)

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Writes a file that is there whole or not at all.

        Args:
            path: the file; missing folders are created.
            format: ``".csv"`` or ``".parquet"``; by default the end of the name.

        Raises:
            ImportError: Parquet needs the package pyarrow, which is not installed.
            ValueError: there is no such format.
            OSError: the file cannot be written.
        """
        chosen = Path(path).suffix if format is None else format
        require_table_format(f"people{chosen}")
        with replaced_when_complete(path) as partial:
            (_write_parquet if chosen.lower() == ".parquet" else _write_csv)(self, partial)


def require_table_format(path: str | os.PathLike[str]) -> None:
    """Checks, before the work is done, that a :class:`PersonTable` could be written to `path`.

    Raises:
        ImportError: the package that the format needs is not installed.
        ValueError: there is no such format.

    Example:
        >>> require_table_format("people.csv")
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"a table of people must be written to a file that ends in {' or '.join(FORMATS)}, got {path}")
    if suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError(f"Parquet needs pyarrow: {_EXTRA}, or write a .csv") from error


def person_table(
    images: Images,
    verdict: Verdict,
    protocol: str,
    class_names: Sequence[str],
    multi_label: bool,
    thresholds: Sequence[float] | NDArray[np.float64] | None,
) -> PersonTable:
    """The table of all people; labels are those at `thresholds`, by default ½, or the most probable one."""
    place = np.argwhere(images.is_person)  # image and person
    image, person, query = place[:, 0], place[:, 1], verdict.query
    answered = query >= 0
    known = (image[answered], query[answered])
    true = images.true_boxes[image, person]
    boxes, scores = images.boxes[known], images.scores[known]
    probabilities = images.probabilities[known]
    overlap = assignment.box_iou(boxes[:, None], true[answered][:, None])[:, 0, 0]
    counts = np.bincount(image, minlength=len(images.names))

    def spread(values: Any) -> list[Any]:
        """One per person; None for people without a prediction."""
        found = iter(np.asarray(values).tolist())
        return [next(found) if one else None for one in answered.tolist()]

    said = _predicted_labels(probabilities, class_names, multi_label, thresholds)
    columns: dict[str, list[Any]] = {
        "image": [images.names[i] for i in image],
        "person": (person + 1).tolist(),
        "people": counts[image].tolist(),
        **{f"true_{corner}": true[:, at].tolist() for at, corner in enumerate(_CORNERS)},
        **{f"predicted_{corner}": spread(boxes[:, at]) for at, corner in enumerate(_CORNERS)},
        "iou": spread(overlap),
        "score": spread(scores),
        "true_labels": [_joined(row, class_names) for row in images.true_labels[image, person]],
        "predicted_labels": spread(np.array(said, dtype=object)),
        **{f"probability_{name}": spread(probabilities[:, c]) for c, name in enumerate(class_names)},
    }
    for name, texts in images.attributes.items():
        if not any(texts):
            continue
        columns[name if name not in (*columns, *CONTINUOUS) else f"attribute_{name}"] = [text or None for text in texts]
    if not np.isnan(images.continuous).all():
        for at, name in enumerate(CONTINUOUS):
            columns[name] = [None if np.isnan(value) else value for value in images.continuous[:, at].tolist()]
    return PersonTable(protocol, columns)


def _write_csv(people: PersonTable, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(people.columns)
        writer.writerows(zip(*people.columns.values(), strict=True))


def _write_parquet(people: PersonTable, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = dict.fromkeys(("image", "true_labels", "predicted_labels"), pyarrow.string())
    kinds |= dict.fromkeys(("person", "people"), pyarrow.int64())
    arrays = {}
    for name, values in people.columns.items():
        array = pyarrow.array(values)
        if pyarrow.types.is_null(array.type):  # nobody has a value: what it would be
            array = array.cast(kinds.get(name, pyarrow.float64()))
        arrays[name] = array
    memory = pyarrow.BufferOutputStream()  # pyarrow's errors of the disk name the temporary file in their reason
    parquet.write_table(pyarrow.table(arrays).replace_schema_metadata({"protocol": people.protocol}), memory)
    path.write_bytes(memory.getvalue())


def _predicted_labels(
    probabilities: Floats, class_names: Sequence[str], multi_label: bool, thresholds: Any
) -> list[str]:
    if not multi_label:
        return [class_names[c] for c in probabilities.argmax(axis=1).tolist()]
    limits = np.asarray(UNFITTED if thresholds is None else thresholds, dtype=np.float64)
    if limits.ndim and limits.shape != (len(class_names),):
        raise ValueError(f"thresholds must be {len(class_names)} numbers, one per class, got shape {limits.shape}")
    return [_joined(row, class_names) for row in probabilities > limits]


def _joined(row: NDArray[np.bool_], class_names: Sequence[str]) -> str:
    return "|".join(class_names[c] for c in np.flatnonzero(row).tolist())
