"""Looks for the annotation files of a data set under their usual names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dsct.data.annotation_tools import find

NAMES = ("emotic", "caer-s", "coco")
SPLITS = ("train", "val", "test")

_EMOTIC_FILES = (
    "emotic_{split}_bi.json",
    "Annotations.mat",
    "CVPR17_Annotations.mat",
    "{split}.csv",
    "annot_arrs_{split}.csv",
    "annots_{split}.csv",
)
_CAER_S_FILES = ("{split}.txt", "caer_{split}.json")
_COCO_FILES = ("{split}.json", "instances_{split}.json", "{split}.csv")
_WHOLE_COCO_FILES = ("annotations.json", "annotations.csv")


def recognise(folder: str | os.PathLike[str]) -> str:
    """The data set in a folder, by the names of its annotation files.

    Args:
        folder: the data folder.

    Returns:
        One of :data:`NAMES`.

    Raises:
        FileNotFoundError: there is no annotation file with a usual name.
        ValueError: the names are used by several data sets, such as ``train.csv``.

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
    if not found and find(Path(folder)) is not None:
        return "coco"
    if not found:
        names = ", ".join(dict.fromkeys(pattern for patterns in files.values() for pattern in patterns))
        raise FileNotFoundError(f"{folder}: no annotations; looked for {names} in the folder and in its 'annotations'")
    if len(found) > 1:
        raise ValueError(f"name must be {' or '.join(found)} for {folder}, whose files may be of either")
    return found[0]


def annotation_files(name: str, folder: Path, split: str) -> list[Path]:
    """The existing annotation files of a split, the one to read first; never empty.

    Args:
        name: one of :data:`NAMES`.
        folder: the data folder.
        split: one of :data:`SPLITS`.

    Raises:
        FileNotFoundError: there is no such file; the message lists what was looked for.
    """
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


def own_training_file(folder: Path) -> Path | None:
    """The training file of your own data, if there is one."""
    found = _present(folder, _COCO_FILES, "train") or _present(folder, _WHOLE_COCO_FILES, "train")
    return found[0] if found else None


def has_own_file(folder: Path, split: str) -> bool:
    """Whether your own data have a file for this split alone."""
    return bool(_present(folder, _COCO_FILES, split))


def _present(folder: Path, patterns: Sequence[str], split: str) -> list[Path]:
    paths = [
        folder / place / pattern.format(split=split)
        for pattern in patterns
        for place in ("", "annotations", "Annotations", "annots_arrs")
    ]
    found: list[Path] = []
    for path in paths:
        # On a file system that ignores case the last two places are one.
        if path.is_file() and not any(path.samefile(other) for other in found):
            found.append(path)
    return found
