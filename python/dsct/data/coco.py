"""Your own data: a COCO JSON, or a CSV with a row per person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from dsct.data import annotation_tools
from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.build import ImageRoot, build
from dsct.data.annotation_files.own_csv import OwnCsv
from dsct.data.annotation_files.own_json import OwnJson
from dsct.data.transforms import Transform


class CocoDataset(AnnotatedDataset):
    """People with your own classes, each of one class or, with ``multi_label``, of several.

    Created by :meth:`from_json`, :meth:`from_csv` or :meth:`from_export`. ``ds.skipped`` counts what was left out: see
    :func:`dsct.data.annotation_files.build.build`. Images without people are kept.
    """

    @classmethod
    def from_json(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        split: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CocoDataset:
        """Reads a COCO JSON; crowds are left out.

        A person's class is ``category_id``. With `multi_label`, several are given as ``"category_ids": [3, 7]``, or as
        ``"attributes": ["happy", 7]``, names or ids; without either list, ``category_id`` is the only one.

        Args:
            path: the file.
            image_root: folder of the images, or several to choose from; ``None`` opens no image file.
            class_names: C names that the categories must be among; if not given, the categories of the file in the
                order of their ids. For a file without categories, ids are positions in it.
            multi_label: labels become (n, C) of 0 and 1.
            split: taken from the file name if not given.
            val_fraction: share of the images used for validation; ``split`` ``"train"`` or ``"val"`` selects the part.
                0 uses the whole file.
            seed: for this choice.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, a category is unknown, or nothing is left.

        Example:
            >>> import json, tempfile
            >>> content = {
            ...     "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}],
            ...     "annotations": [{"id": 1, "image_id": 7, "category_id": 20, "bbox": [1, 2, 3, 4]}],
            ...     "categories": [{"id": 20, "name": "happy"}, {"id": 10, "name": "calm"}],
            ... }
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "train.json")
            ...     _ = path.write_text(json.dumps(content))
            ...     people = CocoDataset.from_json(path)
            >>> people.class_names, people.annotations(0).labels.tolist()
            (('calm', 'happy'), [1])
        """
        raw = _read(OwnJson, Path(path)).people(class_names, multi_label)
        return build(cls, raw.part(split, val_fraction, seed), image_root, transforms)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        split: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CocoDataset:
        r"""Reads a CSV with the columns ``path, x1, y1, x2, y2, label``, one row per person, in pixels.

        Several labels are separated by ``|``. A row with a path and nothing else is an image without people. Without
        image root the sizes of the images are guessed: just large enough for their boxes.

        Args:
            path: the file.
            image_root: folder of the images, or several to choose from; ``None`` opens no image file.
            class_names: C names that the labels must be among; if not given, the labels in the file, sorted.
            multi_label: labels become (n, C) of 0 and 1.
            split: as in :meth:`from_json`.
            val_fraction: as in :meth:`from_json`.
            seed: as in :meth:`from_json`.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, a label is unknown, or nothing is left.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "train.csv")
            ...     _ = path.write_text("path,x1,y1,x2,y2,label\na.jpg,1,2,4,6,calm|happy\na.jpg,5,2,9,6,calm")
            ...     people = CocoDataset.from_csv(path, multi_label=True)
            >>> people.class_names, people.annotations(0).labels.tolist()
            (('calm', 'happy'), [[1, 1], [1, 0]])
        """
        raw = _read(OwnCsv, Path(path)).people(class_names, multi_label)
        return build(cls, raw.part(split, val_fraction, seed), image_root, transforms)

    @classmethod
    def from_export(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        split: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
        transforms: Transform | None = None,
    ) -> CocoDataset:
        r"""Reads what an annotation tool exported, with the emotions of every box.

        Label Studio JSON, CVAT XML, YOLO, Pascal VOC XML, VIA JSON and CSV, labelme JSON, and CSV files with other
        columns than ours are told by their content.

        Args:
            path: the file; or the folder, for forms with a file per image.
            image_root: folder of the images, or several to choose from; ``None`` opens no image file.
            class_names: C names that the labels must be among; if not given, those of the export.
            multi_label: labels become (n, C) of 0 and 1.
            split: of the export, if it names splits: ``None`` takes all images; otherwise as in :meth:`from_json`.
            val_fraction: as in :meth:`from_json`, for an export without validation images.
            seed: as in :meth:`from_json`.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file or folder, or the export has no such split.
            ValueError: it is in no form that is read, is malformed, a label is unknown, or nothing is left.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "export.csv")
            ...     _ = path.write_text("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,calm,1,2,30,40")
            ...     people = CocoDataset.from_export(path)
            >>> people.class_names, people.annotations(0).boxes.tolist()
            (('calm',), [[1.0, 2.0, 30.0, 40.0]])
        """
        export = annotation_tools.read(path)
        if split is not None and export.splits:
            raw = export.part(split, class_names, multi_label, val_fraction, seed)
        else:
            raw = export.people(class_names, multi_label).part(split, val_fraction, seed)
        return build(cls, raw, image_root, transforms)


_Own = TypeVar("_Own", OwnJson, OwnCsv)


def _read(form: type[_Own], path: Path) -> _Own:
    """A file of our own form; of another the error names the form and what reads it."""
    try:
        return form(path)
    except ValueError as error:
        if annotation_tools.recognise(path) is None:
            raise
        found = annotation_tools.read(path).form
        raise ValueError(f"{error}; it is {found}: use CocoDataset.from_export or dsct data convert") from error


def read_class_names(path: Path) -> tuple[str, ...]:
    """The classes of a COCO JSON or a CSV, in the order in which :class:`CocoDataset` numbers them.

    Args:
        path: the file, ``.json`` or ``.csv``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed.

    Example:
        >>> import json, tempfile
        >>> file = Path(tempfile.mkdtemp()) / "people.json"
        >>> content = {"categories": [{"id": 7, "name": "happy"}, {"id": 2, "name": "calm"}]}
        >>> written = file.write_text(json.dumps({"images": [], "annotations": [], **content}))
        >>> read_class_names(file)
        ('calm', 'happy')
    """
    return (OwnCsv(path) if path.suffix == ".csv" else OwnJson(path)).class_names(multi_label=False)
