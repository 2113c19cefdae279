"""CAER-S: frames of TV series, each with one of seven emotions.

On disk ``{train,test}/<class>/NNNN.png``; face boxes come as text lines (path, class number, x1, y1, x2, y2), such as
``train/Angry/0001.png,0,295,97,394,195``, or as the COCO JSON of the released code. The first class has a folder
named ``Anger`` or ``Angry``: either is found, whichever the annotations name. There is no validation split, so one is
taken from the training data. Request the data from its authors, https://caer-dataset.github.io.
"""

from __future__ import annotations

import os
from pathlib import Path

from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.build import ImageRoot, build
from dsct.data.annotation_files.caer_s_faces import FRAME_SIZE as FRAME_SIZE
from dsct.data.annotation_files.caer_s_faces import faces_of, read_caer_s_json, read_caer_s_text
from dsct.data.annotation_files.splits import VAL_FRACTION
from dsct.data.transforms import Transform


class CaerSDataset(AnnotatedDataset):
    """The people of CAER-S; labels are (n,), numbers into ``dsct.config.CAER_S_CLASSES``.

    Created by :meth:`from_text` or :meth:`from_coco_json`. ``ds.skipped`` counts what was left out: see
    :func:`dsct.data.annotation_files.build.build`.

    A file with the training data returns its training part (``split="train"``, the default) or its validation part
    (``"val"``), the same in both forms of annotations. ``val_fraction=0`` uses all of it for training.
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
            image_root: folder that contains ``train`` and ``test``, or one of these, or several folders to choose from;
                ``None`` opens no image file and assumes images of 712 × 400, or larger if a box is.
            split: ``"train"``, ``"val"`` or ``"test"``; taken from the file name if not given.
            val_fraction: share of the training data that is for validation.
            seed: for this choice.
            transforms: of the data set.

        Returns:
            The data set.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a class contradicts the folder, the split is not in this file, or nothing is left.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "test.txt")
            ...     _ = path.write_text("test/Angry/0001.png,0,295,97,394,195")
            ...     faces = CaerSDataset.from_text(path)
            >>> faces.split, faces.annotations(0).labels.tolist(), faces.annotations(0).size
            ('test', [0], (712, 400))
        """
        return build(cls, faces_of(read_caer_s_text(Path(path)), split, val_fraction, seed), image_root, transforms)

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
        return build(cls, faces_of(read_caer_s_json(Path(path)), split, val_fraction, seed), image_root, transforms)
