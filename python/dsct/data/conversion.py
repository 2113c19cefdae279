"""Writes any data set that can be read as COCO JSON, with everything that is known about its people."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsct.complete_files import make_folder_of
from dsct.data.annotated import AnnotatedDataset
from dsct.data.annotation_files.emotic_csv import is_emotic_csv
from dsct.data.annotation_files.own_json_writer import coco_content, write_json
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_tools import find, read
from dsct.data.annotation_tools import recognise as recognise_tool
from dsct.data.folders import DataFolder
from dsct.data.layouts.search import SPLITS, annotation_files, has_own_file, recognise

IMAGES = ("link", "copy", "none")
_WHOLE = "annotations"


@dataclass(frozen=True)
class Converted:
    """One file that was written.

    Attributes:
        path: of the COCO JSON.
        data: what was read.
        linked: number of images that are hard links to those of the source.
        copied: number of images that are copies.

    Example:
        >>> from dsct.data.records import Annotations
        >>> record = Annotations(Path("a.png"), [[1, 2, 30, 40]], [0], (64, 48))
        >>> data = AnnotatedDataset([record], split="train", class_names=("calm",), multi_label=False)
        >>> Converted(Path("train.json"), data, linked=0, copied=1).path.name
        'train.json'
    """

    path: Path
    data: AnnotatedDataset
    linked: int
    copied: int


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    name: str | None = None,
    splits: Sequence[str] = (),
    multi_label: bool = False,
    labels: str | None = None,
    images: str = "link",
    overwrite: bool = False,
) -> list[Converted]:
    r"""Converts any data set that is read to COCO JSON, which ``coco`` reads back as the same.

    A file per split, ``train.json``, or ``annotations.json`` where the source has no splits. Beside what COCO defines,
    a person has ``category_ids`` if people can have several labels, and where they are known ``continuous``, three
    numbers, and ``person``, such as ``{"age": "Adult"}``. The images are in ``images``, in a folder of the split if
    there is one. Validation images of CAER-S are chosen as always; nothing else is cut.

    Args:
        source: an annotation file, or a folder that :class:`DataFolder` or
            :func:`dsct.data.annotation_tools.read` reads.
        destination: a folder; or a ``.json`` file, for a source of a single part.
        name: what the source is, ``"emotic"``, ``"caer-s"`` or ``"coco"``; by default recognised.
        splits: only these.
        multi_label: people can have several labels; always so for ``emotic``.
        labels: for ``Annotations.mat`` only.
        images: ``"link"`` makes hard links, and copies where the file system has none; ``"copy"`` copies; ``"none"``
            writes annotations only, with the names of the images as in the source.
        overwrite: replace files that are there.

    Returns:
        What was written, by split.

    Raises:
        FileExistsError: the destination is there, and `overwrite` is false.
        FileNotFoundError: there is no such source, or no annotations in it.
        ValueError: an argument is out of range, or the source is malformed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.png")
        >>> _ = (folder / "export.csv").write_text("image,xmin,ymin,xmax,ymax,label\na.png,1,2,30,40,calm")
        >>> (written,) = convert(folder / "export.csv", folder / "coco")
        >>> written.path.name, written.linked, sorted(path.name for path in (folder / "coco").iterdir())
        ('annotations.json', 1, ['annotations.json', 'images'])
    """
    source, destination = Path(source), Path(destination)
    if images not in IMAGES:
        raise ValueError(f"images must be one of {', '.join(IMAGES)}, got {images!r}")
    if not source.exists():
        raise FileNotFoundError(f"source must be a file or folder, there is none at {source}")
    if source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"destination must be outside the source, to which it would add images, got {destination}")
    single = destination.suffix == ".json"
    if not overwrite and destination.exists() and (single or not destination.is_dir() or any(destination.iterdir())):
        raise FileExistsError(f"{destination} is there already; choose another place, or overwrite it (--force)")
    parts = list(_parts(source, name, splits, multi_label, labels))
    if not parts:
        raise FileNotFoundError(f"source must have annotations of {name or 'any kind'}, there are none in {source}")
    if single and len(parts) > 1:
        names = ", ".join(part for part, _ in parts)
        raise ValueError(f"destination must be a folder for the parts {names} of {source}, got {destination}")
    folder = destination.parent if single else destination
    stems = [destination.stem if single else part for part, _ in parts]
    if source.resolve() in ((folder / f"{stem}.json").resolve() for stem in stems):
        raise ValueError(f"destination must be another file than the source {source}, which it would replace")
    make_folder_of(folder / f"{stems[0]}.json")
    return [
        _write(data, folder, stem, images, overwrite, "" if part == _WHOLE else part)
        for stem, (part, data) in zip(stems, parts, strict=True)
    ]


def _parts(
    source: Path, name: str | None, splits: Sequence[str], multi_label: bool, labels: str | None
) -> Iterator[tuple[str, AnnotatedDataset]]:
    """Name of a part and its data."""
    folder, annotations = (source.parent, source.absolute()) if source.is_file() else (source, None)
    name = name or _name_of(source)
    found = _splits_of(name, source)
    if wrong := [split for split in splits if split not in found and found != [_WHOLE]]:
        raise FileNotFoundError(f"{source} has no split {', '.join(wrong)}; there is {', '.join(found) or 'none'}")
    if found == [_WHOLE] and len(splits) > 1:
        raise ValueError(f"{source} is not divided into splits: give one, which all of it is, got {', '.join(splits)}")
    options: dict[str, Any] = {"annotations": annotations, "labels": labels, "multi_label": multi_label}
    if name == "coco":
        options["val_fraction"] = 0.0
    elif name == "emotic":
        options.pop("multi_label")
    opened = DataFolder(name, folder, **options)
    for split in found:
        if split == _WHOLE:
            yield (splits[0] if splits else split), opened.open("train")
        elif not splits or split in splits:
            yield split, opened.open(split)


def _name_of(source: Path) -> str:
    """The data set in a file or folder."""
    if source.is_dir():
        return recognise(source)
    if source.suffix == ".mat" or re.fullmatch(r"emotic_\w+_bi\.json", source.name):
        return "emotic"
    if source.suffix == ".txt" or re.fullmatch(r"caer_\w+\.json", source.name):
        return "caer-s"
    return "emotic" if source.suffix == ".csv" and is_emotic_csv(source) else "coco"


def _splits_of(name: str, source: Path) -> list[str]:
    """The splits of a file or folder; ``_WHOLE`` for one that is not divided."""
    if source.is_file():
        if source.suffix == ".mat":
            return list(SPLITS)
        own = split_from_name(source)
        if name == "caer-s" and own == "train":
            return ["train", "val"]
        inside = read(source).splits if recognise_tool(source) else ()
        return list(inside) or [own if own in SPLITS else _WHOLE]
    if name != "coco":
        return [split for split in SPLITS if _has(name, source, split)]
    if named := [split for split in SPLITS if has_own_file(source, split)]:
        return named
    export = find(source)
    return list(read(export).splits) or [_WHOLE] if export is not None else [_WHOLE]


def _has(name: str, folder: Path, split: str) -> bool:
    try:
        return bool(annotation_files(name, folder, split))
    except FileNotFoundError:
        return False


def _write(data: AnnotatedDataset, folder: Path, stem: str, images: str, overwrite: bool, split: str) -> Converted:
    names = [_inside(data.annotations(index).image_path, data.image_root) for index in range(len(data))]
    linked = copied = 0
    if images != "none":
        place = folder / "images" / split if split else folder / "images"
        placed: dict[str, Path] = {}
        for index, name in enumerate(names):
            source = data.annotations(index).image_path
            assert source is not None
            if not placed.setdefault(name, source).samefile(source):
                raise ValueError(f"{placed[name]} and {source} would both become {place / name}")
            if _put(source, place / name, images == "link", overwrite):
                linked += 1
            else:
                copied += 1
    path = folder / f"{stem}.json"
    write_json(path, coco_content(data, names))
    return Converted(path, data, linked, copied)


def _inside(path: Path | None, root: Path | None) -> str:
    """The name of an image below the new folder of images: as it was, without what leads out of it."""
    assert path is not None
    name = path.relative_to(root) if root is not None and path.is_relative_to(root) else path
    return "/".join(part for part in name.parts if part not in ("..", name.anchor))


def _put(source: Path, target: Path, link: bool, overwrite: bool) -> bool:
    """Puts an image in its place; returns whether it is a link."""
    make_folder_of(target)
    if target.exists():
        if target.samefile(source):
            return True
        if not overwrite:
            raise FileExistsError(f"{target} is there already, and is another image than {source}")
    # Not `replaced_when_complete`, which would wait for the disk at each of many images.
    partial = target.with_name(f".{os.getpid()}.partial")
    try:
        linked = link and _link(source.resolve(), partial)
        if not linked:
            shutil.copy2(source, partial)
        partial.replace(target)
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{source} cannot be copied to {target}: {error}") from error
        raise OSError(error.errno, f"{source} cannot be copied: {error.strerror}", str(target)) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return linked


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False  # another file system, or one without hard links
    return True
