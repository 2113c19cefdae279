"""EMOTIC: people in context, each with some of 26 emotions, in the forms that are in circulation.

They differ, so results on one must not be compared with results on another:

* ``emotic_{train,val,test}_bi.json`` of the paper's released code: *head* boxes, the *union* of all annotators' labels;
* ``Annotations.mat`` as distributed: *body* boxes; the labels of validation and test people by several annotators, and
  combined;
* a widely used CSV conversion of it: body boxes, combined labels. It clips boxes of non-square ``emodb_small`` images
  at the wrong border, which cannot be undone. 376 of its images are in more than one split. Another conversion has a
  column per class and the images in ``.npy`` arrays, ``annots_arrs/annot_arrs_{train,val,test}.csv`` with ``img_arrs``.

All but the JSON also state valence, arousal and dominance (1 to 10), age and gender: ``Annotations.continuous`` and
``Annotations.attributes``. Training does not use them.

Request the data, which is for research only, from its authors, https://github.com/rkosti/emotic.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.build import ImageRoot, build
from dsct.data.annotation_files.emotic_csv import read_emotic_csv
from dsct.data.annotation_files.emotic_json import decode_category_id, encode_category_id, read_emotic_json
from dsct.data.annotation_files.emotic_mat import MatFile
from dsct.data.transforms import Transform

__all__ = ["EmoticDataset", "decode_category_id", "encode_category_id"]


class EmoticDataset(AnnotatedDataset):
    """The people of EMOTIC; labels are (n, 26), in the order of ``dsct.config.EMOTIC_CLASSES``.

    Created by :meth:`from_coco_json`, :meth:`from_mat` or :meth:`from_csv`. ``ds.skipped`` counts what was left out:
    see :func:`dsct.data.annotation_files.build.build`.
    """

    @classmethod
    def from_coco_json(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        split: str | None = None,
        transforms: Transform | None = None,
    ) -> EmoticDataset:
        """Reads ``emotic_{train,val,test}_bi.json`` of the released code: head boxes, the union of the labels.

        Args:
            path: the file.
            image_root: folder that contains ``mscoco``, ``emodb_small`` and so on, or several to choose from; ``None``
                opens no image file.
            split: taken from the file name if not given.
            transforms: of the data set.

        Returns:
            The data set, with the images without people if there are any.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, or nothing is left.

        Example:
            >>> import json, tempfile
            >>> image = {"id": 1, "file_name": "mscoco/images/1.jpg", "width": 640, "height": 480}
            >>> person = {"id": 0, "image_id": 1, "category_id": 2**25, "bbox": [10, 20, 30, 40]}
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "emotic_val_bi.json")
            ...     _ = path.write_text(json.dumps({"images": [image], "annotations": [person]}))
            ...     people = EmoticDataset.from_coco_json(path)
            >>> people.split, people.annotations(0).boxes.tolist()
            ('val', [[10.0, 20.0, 40.0, 60.0]])
        """
        raw = read_emotic_json(Path(path))
        return build(cls, replace(raw, split=split or raw.split), image_root, transforms)

    @classmethod
    def from_mat(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        split: str = "train",
        *,
        labels: str = "combined",
        transforms: Transform | None = None,
    ) -> EmoticDataset:
        """Reads ``Annotations.mat`` as distributed: body boxes. Needs SciPy.

        The sizes in the file are wrong for the non-square images of ``emodb_small``. With an image root, sizes are
        read from the image files; without one, width and height of these images are swapped back.

        Continuous annotations are the combined ones, or else the mean over the annotators. Files that SciPy wrote after
        reading this one in a simpler form are read as well.

        Args:
            path: the file.
            image_root: folder that contains ``mscoco``, ``emodb_small`` and so on, or several to choose from; ``None``
                opens no image file.
            split: ``"train"``, ``"val"`` or ``"test"``.
            labels: ``"combined"`` uses the annotator's labels in training and the combined ones in validation and
                test; ``"union"`` is the union over all annotators, as in the JSON.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ImportError: SciPy is missing.
            ValueError: an argument is out of range, the file is malformed, or nothing is left.
        """
        return build(cls, MatFile(Path(path)).people(split, labels), image_root, transforms)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        image_root: ImageRoot | None = None,
        *,
        split: str | None = None,
        transforms: Transform | None = None,
    ) -> EmoticDataset:
        """Reads a CSV conversion, which one is told by its header: body boxes, combined labels.

        Sizes are treated as in :meth:`from_mat`. Rows of one image become one record. Beside ``.npy`` arrays that are
        resized copies of the images, boxes are scaled to them and counted as mended.

        Args:
            path: a file with the columns ``Folder, Filename, Image Size, BBox, Categorical_Labels``, or one with
                ``Filename, Width, Height, X_min, Y_min, X_max, Y_max, Arr_name`` and a column per class;
                ``Continuous_Labels`` or ``Valence, Arousal, Dominance``, and ``Gender, Age``, are read if there.
            image_root: folder that contains ``mscoco``, ``emodb_small`` and so on, or ``img_arrs``, or several to
                choose from; ``None`` opens no image file.
            split: taken from the file name if not given.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is malformed, or nothing is left.

        Example:
            >>> import csv, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "train.csv")
            ...     with path.open("w", newline="") as file:
            ...         table = csv.writer(file)
            ...         _ = table.writerow(["Folder", "Filename", "Image Size", "BBox", "Categorical_Labels"])
            ...         _ = table.writerow(["mscoco/images", "1.jpg", "[640, 480]", "[10, 20, 40, 60]", "['Fear']"])
            ...     people = EmoticDataset.from_csv(path)
            >>> people.split, people.annotations(0).boxes.tolist()
            ('train', [[10.0, 20.0, 40.0, 60.0]])
        """
        raw = read_emotic_csv(Path(path))
        return build(cls, replace(raw, split=split or raw.split), image_root, transforms)
