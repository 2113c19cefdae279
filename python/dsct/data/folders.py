"""Finds the annotation file and the images of a split in a data folder as people have it on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.splits import VAL_FRACTION, split_from_name
from dsct.data.caer_s import CaerSDataset
from dsct.data.coco import CocoDataset, read_class_names
from dsct.data.emotic import EmoticDataset
from dsct.data.transforms import Transform

NAMES = ("emotic", "caer-s", "coco")
SPLITS = ("train", "val", "test")

_EMOTIC_FILES = (
    "emotic_{split}_bi.json",
    "Annotations.mat",
    "CVPR17_Annotations.mat",
    "{split}.csv",
    "annots_{split}.csv",
)
_CAER_S_FILES = ("{split}.txt", "caer_{split}.json")
_COCO_FILES = ("{split}.json", "instances_{split}.json", "{split}.csv")
_WHOLE_COCO_FILES = ("annotations.json", "annotations.csv")


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
      ``annots_{split}.csv``;
    * ``caer-s``: ``{split}.txt``, ``caer_{split}.json``; validation data is cut from the training data;
    * ``coco``, one's own data: ``{split}.json``, ``instances_{split}.json``, ``{split}.csv``; a lone
      ``annotations.json`` or ``annotations.csv`` is training data. Where there is no file for ``val``, it is cut from
      the training data. Classes are numbered as in the training file.

    Images are looked for in the folder and its ``images``, ``emotic``, ``CAER-S`` and ``{split}``. ``source`` of the
    result says what was taken and what else was there.

    Args:
        name: ``"emotic"``, ``"caer-s"`` or ``"coco"``.
        folder: the data folder.
        split: ``"train"``, ``"val"`` or ``"test"``.
        annotations: takes this file, absolute or relative to the folder, instead of looking. For ``coco``, validation
            data is cut from it unless its name says that it holds ``val`` or ``test`` or `val_fraction` is 0.
        labels: ``"combined"`` or ``"union"``, for ``Annotations.mat`` only.
        class_names: for ``coco`` only, see :class:`CocoDataset`.
        multi_label: for ``coco`` only, see :class:`CocoDataset`.
        val_fraction: share of validation data where it is cut from training data.
        seed: of this cut.
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
    folder = Path(folder)
    _check_arguments(name, folder, split, class_names, multi_label)
    found = _look(name, folder, split) if annotations is None else [folder / annotations]
    path = found[0]
    if labels is not None and path.suffix != ".mat":
        raise ValueError(f"labels can be chosen for Annotations.mat only, the annotations are {path}; got {labels!r}")
    roots = [folder, *(folder / one for one in ("images", "emotic", "CAER-S", split, f"images/{split}"))]
    if split == "val":
        roots += [folder / "train", folder / "images/train"]
    data: AnnotatedDataset
    if name == "emotic":
        data = _open_emotic(path, roots, split, labels or "combined", transforms)
    elif name == "caer-s":
        read_faces = CaerSDataset.from_coco_json if path.suffix == ".json" else CaerSDataset.from_text
        data = read_faces(path, roots, split=split, val_fraction=val_fraction, seed=seed, transforms=transforms)
    else:
        if annotations is None:
            class_names = class_names or _training_classes(folder, path)
        fraction = _fraction_to_cut(folder, path, split, val_fraction, looked=annotations is None)
        read_people = CocoDataset.from_csv if path.suffix == ".csv" else CocoDataset.from_json
        data = read_people(
            path,
            roots,
            class_names=class_names,
            multi_label=multi_label,
            split=split,
            val_fraction=fraction,
            seed=seed,
            transforms=transforms,
        )
    if len(found) > 1:
        data.source += f" (also there, not read: {', '.join(str(one.relative_to(folder)) for one in found[1:])})"
    return data


def recognise(folder: str | os.PathLike[str]) -> str:
    """Which data set a folder holds, by the names of its annotation files.

    Args:
        folder: the data folder.

    Returns:
        One of :data:`NAMES`.

    Raises:
        FileNotFoundError: there is no annotation file with a usual name.
        ValueError: the names are usual in several data sets, such as ``train.csv``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "emotic_val_bi.json").write_text("{}")
        ...     recognise(folder)
        'emotic'
    """
    files = {"emotic": _EMOTIC_FILES, "caer-s": _CAER_S_FILES, "coco": (*_COCO_FILES, *_WHOLE_COCO_FILES)}
    found = [
        name for name, patterns in files.items() if any(_present(Path(folder), patterns, split) for split in SPLITS)
    ]
    if not found:
        names = ", ".join(dict.fromkeys(pattern for patterns in files.values() for pattern in patterns))
        raise FileNotFoundError(f"{folder}: no annotations; looked for {names} in the folder and in its 'annotations'")
    if len(found) > 1:
        raise ValueError(f"name must say what {folder} holds, its files may be those of {' or '.join(found)}")
    return found[0]


def _check_arguments(name: str, folder: Path, split: str, class_names: Sequence[str] | None, multi_label: bool) -> None:
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if name != "coco" and (class_names is not None or multi_label):
        raise ValueError(f"class_names and multi_label are for 'coco' only, the classes of {name!r} are fixed")
    if not folder.is_dir():
        raise FileNotFoundError(f"folder must be a directory with a data set, there is none at {folder}")


def _look(name: str, folder: Path, split: str) -> list[Path]:
    """The annotation files that are there, the one to read first."""
    searches: list[tuple[Sequence[str], str]] = []
    if name == "emotic":
        searches.append((_EMOTIC_FILES, split))
    elif name == "caer-s":
        searches.append((_CAER_S_FILES, "train" if split == "val" else split))
    else:
        searches.append((_COCO_FILES, split))
        if split == "val":
            searches.append((_COCO_FILES, "train"))
        if split != "test":
            searches.append((_WHOLE_COCO_FILES, split))
    for patterns, one in searches:
        found = _present(folder, patterns, one)
        if found:
            return found
    names = dict.fromkeys(pattern.format(split=one) for patterns, one in searches for pattern in patterns)
    raise FileNotFoundError(
        f"{folder}: no annotations of {name}, split {split!r}; looked for {', '.join(names)} in the folder and in its "
        "'annotations'"
    )


def _present(folder: Path, patterns: Sequence[str], split: str) -> list[Path]:
    paths = [
        folder / place / pattern.format(split=split)
        for pattern in patterns
        for place in ("", "annotations", "Annotations")
    ]
    found: list[Path] = []
    for path in paths:
        # On a file system that ignores case the last two places are one.
        if path.is_file() and not any(path.samefile(other) for other in found):
            found.append(path)
    return found


def _open_emotic(
    path: Path, roots: Sequence[Path], split: str, labels: str, transforms: Transform | None
) -> EmoticDataset:
    if path.suffix == ".mat":
        return EmoticDataset.from_mat(path, roots, split, labels=labels, transforms=transforms)
    read = EmoticDataset.from_csv if path.suffix == ".csv" else EmoticDataset.from_coco_json
    return read(path, roots, split=split, transforms=transforms)


def _fraction_to_cut(folder: Path, path: Path, split: str, val_fraction: float, looked: bool) -> float:
    """Share of validation data that has to be cut from one's own training file; 0 leaves the file whole."""
    holds_training = split != "test" and split_from_name(path) not in ("val", "test")
    if not holds_training or (looked and _present(folder, _COCO_FILES, "val")):
        return 0.0
    if looked and split == "val" and val_fraction == 0:
        raise ValueError(f"val_fraction must be above 0 to cut validation data from {path}, got 0")
    return val_fraction


def _training_classes(folder: Path, path: Path) -> tuple[str, ...] | None:
    """The classes of the training file, if `path` is not that: numbers must mean the same in every split."""
    training = _present(folder, _COCO_FILES, "train") or _present(folder, _WHOLE_COCO_FILES, "train")
    return read_class_names(training[0]) if training and training[0] != path else None
