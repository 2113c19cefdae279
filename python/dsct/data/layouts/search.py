"""Looks for the annotation files of a data set under their usual names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dsct.data.annotation_files.emotic_csv import is_emotic_csv
from dsct.data.annotation_files.splits import of_split, split_from_name
from dsct.data.annotation_tools import find
from dsct.data.layouts.annotation_names import lone_names, looked_for, names_of
from dsct.data.layouts.image_places import within

NAMES = ("emotic", "caer-s", "coco")
SPLITS = ("train", "val", "test")


def recognise(folder: str | os.PathLike[str]) -> str:
    """The data set in a folder, by the names of its annotation files and the header of a CSV.

    Args:
        folder: the data folder.

    Returns:
        One of :data:`NAMES`.

    Raises:
        FileNotFoundError: there is no annotation file with a usual name.
        ValueError: there are files of several data sets.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.csv").write_text("path,x1,y1,x2,y2,label")
        ...     recognise(folder)
        'coco'
    """
    found = {}
    for name in NAMES:
        paths = [path for split in SPLITS for path in _present(Path(folder), names_of(name, split))]
        if name == "coco":
            paths += _present(Path(folder), lone_names())
        ours = [path for path in paths if path.suffix != ".csv" or is_emotic_csv(path) == (name == "emotic")]
        if ours:
            found[name] = ours[0]
    if not found and find(Path(folder)) is not None:
        return "coco"
    if not found:
        raise FileNotFoundError(f"{folder}: no annotations; looked for {looked_for(*NAMES)}")
    if len(found) > 1:
        files = ", ".join(f"--name {name} for {within(Path(folder), path)}" for name, path in found.items())
        raise ValueError(f"{folder} holds files of several data sets; choose {files}")
    return next(iter(found))


def recognise_file(path: Path) -> str:
    """The data set that an annotation file belongs to, by its name and the header of a CSV; ``"coco"`` if in doubt.

    Example:
        >>> recognise_file(Path("emotic_val_bi.json")), recognise_file(Path("faces.json"))
        ('emotic', 'coco')
    """
    name = path.name.lower()
    if path.suffix == ".mat" or name.startswith("emotic_") or (path.suffix == ".csv" and is_emotic_csv(path)):
        return "emotic"
    return "caer-s" if path.suffix == ".txt" or name.startswith("caer_") else "coco"


def annotation_files(name: str, folder: Path, split: str) -> list[Path]:
    """The existing annotation files of a split, the one to read first; never empty.

    Args:
        name: one of :data:`NAMES`.
        folder: the data folder.
        split: one of :data:`SPLITS`.

    Raises:
        FileNotFoundError: there is no such file; the message lists what was looked for.
    """
    searches = [names_of(name, split)]
    if name == "coco" and split == "val":
        searches.append(names_of(name, "train"))
    if name == "coco" and split != "test":
        searches.append(lone_names())
    for names in searches:
        if found := _present(folder, names):
            return found
    names_tried = looked_for(name, split=split)
    raise FileNotFoundError(f"{folder}: no annotations of {name}, split {split!r}; looked for {names_tried}")


def beside(name: str, folder: Path, annotations: Path, split: str) -> Path:
    """The file to read for a split where the user names one file: itself, or that of the split beside it.

    Args:
        name: one of :data:`NAMES`.
        folder: the data folder.
        annotations: the file.
        split: one of :data:`SPLITS`.

    Raises:
        FileNotFoundError: training data are wanted, the file holds others, and there are none beside it; or EMOTIC's
            validation data, and it holds those for training, from which none are cut.
    """
    own = named_split(folder, annotations)
    if own not in SPLITS or own == split or annotations.suffix == ".mat":
        return annotations
    others = of_split(within(folder, annotations), split)
    base = folder if folder in annotations.parents else annotations.parent
    if found := _present(base, map(str, others)):
        return found[0]
    if split == "train" or (name, own, split) == ("emotic", "train", "val"):
        raise FileNotFoundError(
            f"{annotations} holds the split {own!r} by its name, and beside it there is no {others[0]} for {split!r}"
        )
    return annotations


def chosen_file(folder: Path, annotations: str | os.PathLike[str]) -> Path:
    """The annotation file that a user names, relative to the data folder or to the current one.

    Args:
        folder: the data folder.
        annotations: the file; need not exist.

    Returns:
        The file, as a path that begins with `folder` if it is in there.
    """
    named = Path(annotations)
    path = named if named.exists() and not (folder / named).exists() else folder / named
    base = folder.absolute()
    inside = base in path.absolute().parents
    return folder / path.absolute().relative_to(base) if inside else path


def seen_from(folder: Path, annotations: str | os.PathLike[str]) -> Path:
    """The annotation file that a user names: relative to the data folder, which may be moved, or else absolute."""
    path = chosen_file(folder, annotations)
    return path.relative_to(folder) if folder in path.parents else path.absolute()


def named_split(folder: Path, annotations: Path) -> str:
    """The split that an annotation file holds by its name, or by its folder if that is inside the data folder."""
    return split_from_name(within(folder, annotations))


def own_training_file(folder: Path) -> Path | None:
    """The training file of your own data, if there is one."""
    found = _present(folder, names_of("coco", "train")) or _present(folder, lone_names())
    return found[0] if found else None


def has_own_file(folder: Path, split: str) -> bool:
    """Whether your own data have a file for this split alone."""
    return bool(_present(folder, names_of("coco", split)))


def _present(folder: Path, names: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = folder / name
        # On a file system that ignores case, two names may be one file.
        if path.is_file() and not any(path.samefile(other) for other in found):
            found.append(path)
    return found
