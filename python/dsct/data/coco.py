"""Your own data: a COCO JSON, or a CSV with a row per person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.build import ImageRoot, build
from dsct.data.annotation_files.own_csv import OwnCsv
from dsct.data.annotation_files.own_json import OwnJson
from dsct.data.transforms import Transform


class CocoDataset(AnnotatedDataset):
    """People with your own classes, each of one class or, with ``multi_label``, of several.

    Created by :meth:`from_json` or :meth:`from_csv`. ``ds.skipped`` counts what was left out: see
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
        raw = OwnJson(Path(path)).people(class_names, multi_label)
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
        raw = OwnCsv(Path(path)).people(class_names, multi_label)
        return build(cls, raw.part(split, val_fraction, seed), image_root, transforms)


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
