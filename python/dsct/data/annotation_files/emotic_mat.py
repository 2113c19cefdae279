"""EMOTIC's ``Annotations.mat``: nested MATLAB structs.

Read without squeezing, so that one person or one category is an array like several. What SciPy writes after reading
the file in a simpler form (``simplify_cells``, ``squeeze_me``, ``struct_as_record=False``) has cells of structs and
matrices of characters where the original has struct arrays and texts; both are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dsct.config import EMOTIC_CLASSES
from dsct.data.annotation_files.emotic_arrays import ATTRIBUTES, CONTINUOUS
from dsct.data.annotation_files.emotic_csv import class_numbers, emotic_image
from dsct.data.annotation_files.raw_annotations import Changes, RawAnnotations, RawImage, RawPerson
from dsct.data.annotation_files.unusable import reason_of, require_any
from dsct.data.mat_file import read_variable

SPLITS = ("train", "val", "test")
LABELS = ("combined", "union")

# What NumPy may raise for content of another form than expected.
_ERRORS = (ValueError, KeyError, IndexError, TypeError, OverflowError)


class MatFile:
    """``Annotations.mat``, read from disk once; each split is parsed on request.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = path.read_bytes()

    def people(self, split: str, labels: str) -> RawAnnotations:
        """The images of one split; their sizes are a guess. Images and people that cannot be used are left out.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.
            labels: ``"combined"`` or ``"union"`` over annotators.

        Raises:
            ImportError: SciPy is missing.
            ValueError: an argument is out of range, the file is malformed, or nobody in it can be used; the message
                names file and image.
        """
        for name, value, choices in (("split", split, SPLITS), ("labels", labels, LABELS)):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        images = []
        changes = Changes()
        for number, image in enumerate(self._struct_array(split), 1):
            place = f"{split}({number})"
            try:
                images.append(_image(image, labels, place))
            except _ERRORS as error:
                changes.lose("malformed image", f"{place}: {error}")
        require_any(self.path, images, changes, "person")
        kind = "union of the annotators' labels" if labels == "union" else "combined labels"
        return RawAnnotations(self.path, split, images, EMOTIC_CLASSES, True, f"body boxes, {kind}", changes=changes)

    def _struct_array(self, split: str) -> list[Any]:
        """The structs of a split."""
        content = read_variable(self._content, split, self.path)
        try:
            return _structs(content)
        except ValueError as error:
            raise ValueError(
                f"{self.path}: {split} must be a struct array or a cell array of structs, {error}"
            ) from error


def _image(image: Any, labels: str, place: str) -> RawImage:
    if missing := {"filename", "folder", "image_size", "person"} - set(image.dtype.names):
        raise ValueError(f"fields are missing: {', '.join(sorted(missing))}")
    folder, filename = _text(image["folder"], "folder"), _text(image["filename"], "filename")
    found = emotic_image(folder, filename, *_size(image["image_size"]))
    for number, person in enumerate(_structs(image["person"]), 1):
        try:
            found.people.append(_person(person, labels))
        except _ERRORS as error:
            found.leave_out(reason_of(error, "malformed person"), f"{place}.person({number}): {error}")
    return found


def _person(person: Any, labels: str) -> RawPerson:
    box = _numbers(_field(person, "body_bbox")).ravel()
    if box.shape != (4,):
        raise ValueError(f"body_bbox must be 4 numbers x1 y1 x2 y2, got {box.tolist()}")
    x1, y1, x2, y2 = box.tolist()
    return RawPerson((x1, y1, x2, y2), class_numbers(_names(person, labels)), _continuous(person), _attributes(person))


def _continuous(person: Any) -> tuple[float, float, float] | None:
    """Valence, arousal and dominance: the combined ones, or else the mean over the annotators who gave them."""
    for name in ("combined_continuous", "annotations_continuous"):
        structs = _structs(person[name]) if name in person.dtype.names else []
        given = [[_numbers(_field(struct, axis)).ravel() for axis in CONTINUOUS] for struct in structs]
        rows = np.array([[value[0] if value.size else np.nan for value in row] for row in given]).reshape(-1, 3)
        if np.isfinite(rows).any():
            known = np.isfinite(rows)
            sums, counts = np.where(known, rows, 0).sum(axis=0), known.sum(axis=0)
            valence, arousal, dominance = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).tolist()
            return valence, arousal, dominance
    return None


def _attributes(person: Any) -> dict[str, str]:
    texts = {name: _strings(person[name]) for name in ATTRIBUTES if name in person.dtype.names}
    return {name: str(text[0]) for name, text in texts.items() if len(text) == 1}


def _size(value: Any) -> tuple[float, float]:
    """The two numbers as they are; which is which depends on the folder."""
    (size,) = _structs(value)
    columns, rows = (float(_numbers(_field(size, name)).item()) for name in ("n_col", "n_row"))
    return columns, rows


def _numbers(value: Any) -> Any:
    """A matrix of numbers, also one that is alone in a cell."""
    array = np.asarray(value)
    return _numbers(array.item()) if array.dtype == object and array.size == 1 else np.asarray(array, dtype=np.float64)


def _names(person: Any, labels: str) -> list[object]:
    """Category names of a person, each once, in the order of the file; none if nobody labelled the person."""
    if labels == "combined" and "combined_categories" in person.dtype.names:
        return _strings(person["combined_categories"])
    annotators = _structs(_field(person, "annotations_categories"))
    if labels == "combined" and len(annotators) > 1:
        raise ValueError(f"combined_categories is missing for {len(annotators)} annotators; use labels='union'")
    chosen = [name for annotator in annotators for name in _strings(_field(annotator, "categories"))]
    return list(dict.fromkeys(chosen))


def _structs(value: Any) -> list[Any]:
    """The elements of a struct array or of a cell array of structs; an empty matrix has none."""
    array = np.asarray(value)
    if array.size == 0:
        return []
    if array.dtype == object:
        return [struct for cell in array.ravel() for struct in _structs(cell)]
    if array.dtype.names is None:
        raise ValueError(f"a struct was expected, got an array of {array.dtype}")
    return list(array.ravel())


def _field(struct: Any, name: str) -> Any:
    if name not in struct.dtype.names:
        raise ValueError(f"the field {name} is missing, there are {', '.join(struct.dtype.names)}")
    return struct[name]


def _strings(value: Any) -> list[object]:
    """The texts of a cell array, or the one text of a char array."""
    array = np.asarray(value)
    if array.dtype == object:
        return [text for cell in array.ravel() for text in _strings(cell)]
    if array.size and array.dtype.kind != "U":
        raise ValueError(f"text was expected, got an array of {array.dtype}")
    if array.dtype == "<U1" and array.ndim and array.shape[-1] > 1:
        array = np.array(["".join(row) for row in array.reshape(-1, array.shape[-1])])
    return [str(text).strip() for text in array.ravel() if str(text).strip()]


def _text(value: Any, name: str) -> str:
    texts = _strings(value)
    if len(texts) != 1:
        raise ValueError(f"{name} must be one text, got {texts}")
    return str(texts[0])
