"""CAER-S: frames of TV series, each with one of seven emotions.

On disk ``{train,test}/<class>/NNNN.png``; face boxes come as text lines (path, class number, x1, y1, x2, y2), such as
``train/Angry/0001.png,0,295,97,394,195``, or as the COCO JSON of the released code. The first class has a folder
named ``Anger`` or ``Angry``: either is found, whichever the annotations name. There is no validation split, so one is
cut from the training data. The data itself comes from its authors, https://caer-dataset.github.io.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from dsct.config import CAER_S_CLASSES
from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.build import ImageRoot, build
from dsct.data.annotation_files.coco_json import Entry, category_id, load_coco_json, raw_images
from dsct.data.annotation_files.raw_annotations import RawAnnotations, RawImage, extent
from dsct.data.annotation_files.splits import VAL_FRACTION, split_from_name
from dsct.data.transforms import Transform

FRAME_SIZE = (712, 400)
"""Usual (width, height) of a frame, taken where no image file says better."""

_FOLDERS = {**{name: name for name in CAER_S_CLASSES}, "Angry": "Anger"}
_OTHER_FOLDER = {"Anger": "Angry", "Angry": "Anger"}


class CaerSDataset(AnnotatedDataset):
    """The people of CAER-S; labels are (n,), numbers into ``dsct.config.CAER_S_CLASSES``.

    Made by :meth:`from_text` or :meth:`from_coco_json`. ``ds.skipped`` counts what was left out: see
    :func:`dsct.data.annotation_files.build.build`.

    A file that holds the training data gives its training part (``split="train"``, the default) or its validation part
    (``"val"``); both forms of annotations are cut alike. ``val_fraction=0`` gives all of it for training.
    """

    @classmethod
    def from_text(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        split: str | None = None,
        val_fraction: float = VAL_FRACTION,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CaerSDataset:
        """Reads ``train.txt`` or ``test.txt``; an image may have several lines.

        Args:
            path: the file.
            image_root: folder that holds ``train`` and ``test``, or one of these, or several folders to choose from;
                ``None`` touches no image file and takes images to be 712 × 400, or larger if a box is.
            split: ``"train"``, ``"val"`` or ``"test"``; taken from the file name when not given.
            val_fraction: share of the training data that is for validation.
            seed: of this choice.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a line is malformed or its class contradicts the folder, the split is not in this file, or
                nothing is left.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "test.txt")
            ...     _ = path.write_text("test/Angry/0001.png,0,295,97,394,195")
            ...     faces = CaerSDataset.from_text(path)
            >>> faces.split, faces.annotations(0).labels.tolist(), faces.annotations(0).size
            ('test', [0], (712, 400))
        """
        return build(cls, faces_of(read_text(Path(path)), split, val_fraction, seed), image_root, transforms)

    @classmethod
    def from_coco_json(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        split: str | None = None,
        val_fraction: float = VAL_FRACTION,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CaerSDataset:
        """Reads ``caer_{train,val,test}.json`` of the released code; ``category_id`` is 0 to 6.

        Args:
            path: the file.
            image_root: as in :meth:`from_text`.
            split: as in :meth:`from_text`.
            val_fraction: as in :meth:`from_text`.
            seed: as in :meth:`from_text`.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, a class contradicts the folder, the split is not in this file, or nothing
                is left.

        Example:
            >>> import json, tempfile
            >>> image = {"id": 1, "file_name": "Happy/0001.png", "width": 712, "height": 400}
            >>> person = {"id": 0, "image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40]}
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "caer_test.json")
            ...     _ = path.write_text(json.dumps({"images": [image], "annotations": [person]}))
            ...     faces = CaerSDataset.from_coco_json(path)
            >>> faces.class_names[faces.annotations(0).labels[0]]
            'Happy'
        """
        return build(cls, faces_of(read_json(Path(path)), split, val_fraction, seed), image_root, transforms)


def faces_of(raw: RawAnnotations, split: str | None, val_fraction: float, seed: int) -> RawAnnotations:
    """The images of one split; training and validation are cut from the same file.

    Args:
        raw: a whole file.
        split: ``"train"``, ``"val"`` or ``"test"``; taken from the file name when ``None``.
        val_fraction: share of the training data that is for validation; 0 takes all of it for training.
        seed: of this choice.

    Raises:
        ValueError: the split is not in this file, or `val_fraction` is out of range.
    """
    holds = raw.split
    split = split or holds
    if holds in ("train", "val", "test") and split != holds and (holds, split) != ("train", "val"):
        raise ValueError(f"split must be in the file, {raw.path} holds {holds!r}, got {split!r}")
    if holds not in ("val", "test") and split in ("train", "val") and (split, val_fraction) != ("train", 0):
        raw = raw.part(split, val_fraction, seed, key=_key)
    folder = "test" if split == "test" else "train"
    images = [replace(image, aliases=_aliases(image.name, folder)) for image in raw.images]
    return replace(raw, split=split, images=images)


def read_json(path: Path) -> RawAnnotations:
    """The images of a ``caer_{train,val,test}.json``.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed, or a class contradicts the folder.
    """
    images = raw_images(path, load_coco_json(path), _label)
    for image in images:
        for (label,) in image.labels:
            try:
                _check_folder(image.name, label)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return _annotations(path, images, certain_sizes=True)


def read_text(path: Path) -> RawAnnotations:
    """The images of a ``train.txt`` or ``test.txt``; their sizes are a guess.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is malformed, or its class contradicts the folder.
    """
    images: dict[str, RawImage] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, label, *box = (cell.strip() for cell in line.split(","))
            x1, y1, x2, y2 = map(float, box)
            class_number = int(label)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: a line must be path,class number,x1,y1,x2,y2, got {line!r}"
            ) from error
        try:
            _check_folder(name, class_number)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        image = images.setdefault(name, RawImage(name))
        image.boxes.append((x1, y1, x2, y2))
        image.labels.append((class_number,))
    for image in images.values():
        image.size = extent(image.boxes, FRAME_SIZE)
    return _annotations(path, list(images.values()), certain_sizes=False)


def _annotations(path: Path, images: list[RawImage], certain_sizes: bool) -> RawAnnotations:
    return RawAnnotations(path, split_from_name(path), images, CAER_S_CLASSES, False, "face boxes", certain_sizes)


def _label(entry: Entry) -> tuple[int, ...]:
    return (category_id(entry),)


def _check_folder(name: str, label: int) -> None:
    """The class folder, if the image is in one, must say the same as the label."""
    if not 0 <= label < len(CAER_S_CLASSES):
        raise ValueError(f"the class of {name} must be in 0..{len(CAER_S_CLASSES) - 1}, got {label}")
    folder = _class_folder(name)
    said = _FOLDERS.get(folder)
    if said is not None and said != CAER_S_CLASSES[label]:
        raise ValueError(f"the class of {name} is {label} ({CAER_S_CLASSES[label]}), but its folder says {folder}")


def _class_folder(name: str) -> str:
    """The folder directly around the image. Plain text, because paths take seconds for all of CAER-S."""
    return name.rpartition("/")[0].rpartition("/")[2]


def _key(name: str) -> str:
    """Class and file name: the same in both forms of annotations and for both names of the first class."""
    folder = _class_folder(name)
    return f"{_FOLDERS.get(folder, folder)}/{name.rpartition('/')[2]}"


def _aliases(name: str, split_folder: str) -> tuple[str, ...]:
    """The other names: with or without the folder of the split, with ``Anger`` or with ``Angry``."""
    first, _, rest = name.partition("/")
    names = [name, rest if first in ("train", "test") else f"{split_folder}/{name}"]
    folder = _class_folder(name)
    if folder in _OTHER_FOLDER:
        end = f"{folder}/{name.rpartition('/')[2]}"
        names += [one.removesuffix(end) + end.replace(folder, _OTHER_FOLDER[folder], 1) for one in names]
    return tuple(names[1:])
