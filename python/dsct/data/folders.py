"""Opens the splits of a data folder as people have it on disk."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.build import build
from dsct.data.annotation_files.caer_s_faces import faces_of, read_caer_s_json, read_caer_s_text
from dsct.data.annotation_files.categories import check_class_names
from dsct.data.annotation_files.emotic_csv import read_emotic_csv
from dsct.data.annotation_files.emotic_json import read_emotic_json
from dsct.data.annotation_files.emotic_mat import MatFile
from dsct.data.annotation_files.own_csv import OwnCsv
from dsct.data.annotation_files.own_json import OwnJson
from dsct.data.annotation_files.raw_annotations import RawAnnotations
from dsct.data.annotation_files.splits import VAL_FRACTION, split_called
from dsct.data.annotation_tools import ToolExport, find
from dsct.data.annotation_tools.own import read_own
from dsct.data.caer_s import CaerSDataset
from dsct.data.coco import CocoDataset
from dsct.data.emotic import EmoticDataset
from dsct.data.image_io import upright_size
from dsct.data.layouts.image_places import within
from dsct.data.layouts.search import (
    NAMES,
    SPLITS,
    annotation_files,
    beside,
    chosen_file,
    has_own_file,
    named_split,
    own_training_file,
    recognise,
)
from dsct.data.transforms import Transform

__all__ = ["NAMES", "SPLITS", "DataFolder", "open_split", "recognise"]


def open_split(
    name: str,
    folder: str | os.PathLike[str],
    split: str,
    *,
    annotations: str | os.PathLike[str] | None = None,
    labels: str | None = None,
    class_names: Sequence[str] | None = None,
    multi_label: bool = False,
    val_fraction: float = VAL_FRACTION,
    seed: int = 0,
    transforms: Transform | None = None,
) -> AnnotatedDataset:
    r"""Opens a split of a data set on disk.

    Looked for in the folder and in its ``annotations``, the first that is there counts:

    * ``emotic``: ``emotic_{split}_bi.json``, ``Annotations.mat``, ``CVPR17_Annotations.mat``, ``{split}.csv``,
      ``annots_{split}.csv``, ``annots_arrs/annot_arrs_{split}.csv``;
    * ``caer-s``: ``{split}.txt``, ``caer_{split}.json``; validation data is cut from the training data;
    * ``coco``, your own data: ``{split}.json``, ``instances_{split}.json``, ``instances_{split}2017.json``,
      ``{split}.csv`` and others, or, in a folder of the split, ``annotations.json``, ``_annotations.coco.json``,
      ``labels.json``, ``instances_default.json``, ``annotations.csv``, ``_annotations.csv``; such a file in the folder
      itself is training data. ``valid``, ``validation`` and ``dev`` are ``val`` too. Where there is no file for
      ``val``, it is cut from the training data. Classes are numbered as in the training file.

    Images are looked for beside the annotation file, in the folder, and in ``images``, ``data``, ``images/default``,
    ``emotic``, ``CAER-S``, ``{split}``, ``images/{split}``, ``{split}2017`` and others of both; the folder that has
    most of them is taken. ``source`` of the result says what was taken and what else was there.

    Args:
        name: ``"emotic"``, ``"caer-s"`` or ``"coco"``.
        folder: the data folder.
        split: ``"train"``, ``"val"`` or ``"test"``, or what else people call them, such as ``"valid"``.
        annotations: takes this file, absolute or relative to the folder, instead of looking. If its name or folder
            says that it holds another split than the wanted one, the file beside it that holds this one is read
            instead, if there is one. For ``coco``, validation data is otherwise cut from it unless it holds ``val`` or
            ``test`` or `val_fraction` is 0.
        labels: ``"combined"`` or ``"union"``, for ``Annotations.mat`` only.
        class_names: numbers the labels by these names, whatever ids or order the file has; a label that is not among
            them is an error.
        multi_label: several labels per person; ``coco`` may have them, ``emotic`` always has.
        val_fraction: share of validation data if it is taken from training data.
        seed: for this choice.
        transforms: of the data set.

    Returns:
        The data set, with images.

    Raises:
        FileNotFoundError: there is no such folder or file; the message lists what was looked for.
        ValueError: an argument is out of range, the file is malformed, or nothing is left.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (64, 48)).save(Path(folder, "a.png"))
        ...     _ = Path(folder, "test.csv").write_text("path,x1,y1,x2,y2,label\na.png,1,2,4,6,calm")
        ...     image, target = open_split("coco", folder, "test")[0]
        >>> image.size, target["image_id"]
        ((64, 48), 'a.png')
    """
    opened = DataFolder(
        name,
        folder,
        annotations=annotations,
        labels=labels,
        class_names=class_names,
        multi_label=multi_label,
        val_fraction=val_fraction,
        seed=seed,
    )
    return opened.open(split, transforms)


class DataFolder:
    r"""A data set on disk from which several splits are opened without reading a file twice.

    Annotation files are parsed once, although the training file also contains the classes of the other splits or the
    images that are used for validation, and ``Annotations.mat`` contains all splits. The sizes of image files are
    remembered.

    Args:
        name: as in :func:`open_split`, like all arguments.
        folder: the data folder.
        annotations: uses this file instead of looking for one.
        labels: for ``Annotations.mat`` only.
        class_names: numbers the labels by these names.
        multi_label: several labels per person.
        val_fraction: share of validation data if it is taken from training data.
        seed: for this choice.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a.png", "b.png"):
        ...         Image.new("RGB", (64, 48)).save(Path(folder, name))
        ...     _ = Path(folder, "all.csv").write_text("path,x1,y1,x2,y2,label\na.png,1,2,4,6,calm\nb.png,1,2,4,6,calm")
        ...     data = DataFolder("coco", folder, annotations="all.csv", val_fraction=0.5)
        ...     [len(data.open(split)) for split in ("train", "val")]
        [1, 1]
    """

    def __init__(
        self,
        name: str,
        folder: str | os.PathLike[str],
        *,
        annotations: str | os.PathLike[str] | None = None,
        labels: str | None = None,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        val_fraction: float = VAL_FRACTION,
        seed: int = 0,
    ) -> None:
        if name not in NAMES:
            raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
        if name == "caer-s" and multi_label:
            raise ValueError("multi_label is for 'emotic' and 'coco': in 'caer-s' a person has one label")
        self.name = name
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}, where a data set should be")
        self.annotations = None if annotations is None else chosen_file(self.folder, annotations)
        self.labels = labels
        self.class_names = None if class_names is None else check_class_names(class_names)
        self.multi_label = multi_label
        self.val_fraction = val_fraction
        self.seed = seed
        self._read = functools.cache(lambda reader, path: reader(path))
        self._size_of = functools.cache(upright_size)

    def open(self, split: str, transforms: Transform | None = None) -> AnnotatedDataset:
        """Opens a split, as :func:`open_split` does.

        Args:
            split: as in :func:`open_split`.
            transforms: of the data set.

        Returns:
            The data set, with images.

        Raises:
            FileNotFoundError: there is no annotation file; the message lists what was looked for.
            ValueError: an argument is out of range, the file is malformed, or nothing is left.
        """
        split = split_called(split)
        path, *others = self._annotation_files(split)
        if self.labels is not None and path.suffix != ".mat":
            raise ValueError(
                f"labels can be chosen for Annotations.mat only, the annotations are {path}; got {self.labels!r}"
            )
        kind, read = {
            "emotic": (EmoticDataset, self._emotic),
            "caer-s": (CaerSDataset, self._caer_s),
            "coco": (CocoDataset, self._coco),
        }[self.name]
        raw = read(path, split)
        if self.class_names is not None and raw.class_names != self.class_names:
            raw = raw.numbered(self.class_names)
        data: AnnotatedDataset = build(kind, raw, self.folder, transforms, self._size_of)
        if others:
            names = ", ".join(str(within(self.folder, one)) for one in others)
            data.source += f" (also there, not read: {names})"
        return data

    def _annotation_files(self, split: str) -> list[Path]:
        """The existing annotation files, the one to read first."""
        if self.annotations is not None:
            return [beside(self.name, self.folder, self.annotations, split)]
        try:
            return annotation_files(self.name, self.folder, split)
        except FileNotFoundError:
            named = own_training_file(self.folder) or any(has_own_file(self.folder, one) for one in SPLITS)
            export = None if named or self.name != "coco" else find(self.folder)
            # All of an export that is not divided is training data, as of a lone annotations.json.
            if export is None or (split == "test" and not getattr(self._own_file(export), "splits", ())):
                raise
            return [export]

    def _emotic(self, path: Path, split: str) -> RawAnnotations:
        if path.suffix == ".mat":
            people: RawAnnotations = self._read(MatFile, path).people(split, self.labels or "combined")
            return people
        raw: RawAnnotations = self._read(read_emotic_csv if path.suffix == ".csv" else read_emotic_json, path)
        return replace(raw, split=split)

    def _caer_s(self, path: Path, split: str) -> RawAnnotations:
        raw: RawAnnotations = self._read(read_caer_s_json if path.suffix == ".json" else read_caer_s_text, path)
        return faces_of(raw, split, self.val_fraction, self.seed)

    def _coco(self, path: Path, split: str) -> RawAnnotations:
        class_names = self.class_names or self._training_classes(path)
        file = self._own_file(path)
        if isinstance(file, ToolExport) and file.splits:
            return file.part(split, class_names, self.multi_label, self.val_fraction, self.seed)
        fraction = self._fraction_to_cut(path, split)
        raw = file.people(class_names, self.multi_label)
        return raw.part(split, fraction, self.seed)

    def _own_file(self, path: Path) -> OwnCsv | OwnJson | ToolExport:
        file: OwnCsv | OwnJson | ToolExport = self._read(read_own, path)
        return file

    def _training_classes(self, path: Path) -> Sequence[str] | None:
        """The classes of the training file, if `path` is another file: numbers must mean the same in every split."""
        if self.annotations is None:
            training = own_training_file(self.folder)
        else:
            training = self.annotations if named_split(self.folder, self.annotations) == "train" else None
        return None if training in (None, path) else self._own_file(training).class_names(self.multi_label)

    def _fraction_to_cut(self, path: Path, split: str) -> float:
        """Share of validation data to take from the training file of your own data; 0 uses the whole file."""
        if split == "test" or named_split(self.folder, path) in ("val", "test"):
            return 0.0
        if self._has_validation_file(path):
            return 0.0
        if self.annotations is None and split == "val" and self.val_fraction == 0:
            raise ValueError(f"val_fraction must be above 0 to cut validation data from {path}, got 0")
        return self.val_fraction

    def _has_validation_file(self, training: Path) -> bool:
        if self.annotations is None:
            return has_own_file(self.folder, "val")
        return beside(self.name, self.folder, training, "val") != training
