"""EMOTIC's ``Annotations.mat``: nested MATLAB structs.

Read without squeezing, so that one person or one category is an array like several.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from dsct.config import EMOTIC_CLASSES
from dsct.data.annotation_files.emotic_csv import class_numbers, emotic_image
from dsct.data.annotation_files.raw_annotations import RawAnnotations, RawImage, RawPerson

SPLITS = ("train", "val", "test")
LABELS = ("combined", "union")


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
        """The images of one split; their sizes are a guess.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.
            labels: ``"combined"`` or ``"union"`` over annotators.

        Raises:
            ImportError: SciPy is missing.
            ValueError: an argument is out of range, or the file is malformed; the message names file and image.
        """
        for name, value, choices in (("split", split, SPLITS), ("labels", labels, LABELS)):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        images = []
        for number, image in enumerate(self._struct_array(split)):
            try:
                images.append(_image(image, labels))
            except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
                raise ValueError(f"{self.path}: {split}({number + 1}): {error}") from error
        kind = "union of the annotators' labels" if labels == "union" else "combined labels"
        return RawAnnotations(self.path, split, images, EMOTIC_CLASSES, True, f"body boxes, {kind}")

    def _struct_array(self, split: str) -> Any:
        """The struct array of a split, flat."""
        try:
            from scipy.io import loadmat
        except ImportError as error:
            raise ImportError(
                "reading Annotations.mat needs SciPy, which is not installed: pip install scipy"
            ) from error
        try:
            content = loadmat(io.BytesIO(self._content), variable_names=[split])
        except NotImplementedError as error:
            raise ValueError(f"{self.path}: MATLAB 7.3 files are not read; save it in MATLAB with '-v7'") from error
        except Exception as error:  # SciPy raises many types for damaged files
            raise ValueError(f"{self.path}: not a MATLAB 5 file: {error}") from error
        if split not in content:
            raise ValueError(f"{self.path}: there is no variable {split!r}")
        table = content[split]
        if missing := {"filename", "folder", "image_size", "person"} - set(table.dtype.names or ()):
            raise ValueError(
                f"{self.path}: {split} must be a struct array, the fields {', '.join(sorted(missing))} are missing"
            )
        return table.ravel()


def _image(image: Any, labels: str) -> RawImage:
    folder, filename = _text(image["folder"], "folder"), _text(image["filename"], "filename")
    found = emotic_image(folder, filename, *_size(image["image_size"]))
    for person in _structs(image["person"]):
        box = np.asarray(_field(person, "body_bbox"), dtype=np.float64).ravel()
        if box.shape != (4,):
            raise ValueError(f"body_bbox must be 4 numbers x1 y1 x2 y2, got {box.tolist()}")
        x1, y1, x2, y2 = box.tolist()
        found.people.append(RawPerson((x1, y1, x2, y2), class_numbers(_names(person, labels))))
    return found


def _size(value: Any) -> tuple[int, int]:
    """The two numbers as they are; which is which depends on the folder."""
    (size,) = _structs(value)
    columns, rows = (int(np.asarray(_field(size, name)).item()) for name in ("n_col", "n_row"))
    return columns, rows


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
    """The elements of a struct array; an empty matrix has none."""
    array = np.asarray(value)
    if array.size == 0:
        return []
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
        raise ValueError(f"category names must be text, got an array of {array.dtype}")
    return [str(text).strip() for text in array.ravel() if str(text).strip()]


def _text(value: Any, name: str) -> str:
    texts = _strings(value)
    if len(texts) != 1:
        raise ValueError(f"{name} must be one text, got {texts}")
    return str(texts[0])
