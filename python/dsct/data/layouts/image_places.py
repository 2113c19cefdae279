"""Where images are, as seen from a data folder and from its annotation file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dsct.data.annotation_files.splits import SPELLINGS, split_from_name

_PLACES = ("", "images", "data", "images/default", "JPEGImages", "emotic", "CAER-S")
_PLACES_OF_SPLIT = (
    "{}",
    "images/{}",
    "{}/images",
    "{}/data",
    "{}/images/default",
    "{}2017",
    "images/{}2017",
    "{}2014",
    "images/{}2014",
)


def image_places(folder: Path, annotations: Path, split: str) -> list[Path]:
    """Folders in which the images may be, the likeliest first; those that do not exist are not among them.

    Args:
        folder: the data folder; always one of the places.
        annotations: the annotation file; images beside it come first if it is inside the data folder.
        split: the split that is read. Images of the training data are looked for if it is cut from these, or has no
            folder of its own.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("train2017", "val2017"):
        ...     (folder / name).mkdir()
        >>> places = image_places(folder, folder / "annotations/instances_val2017.json", "val")
        >>> [place.relative_to(folder).as_posix() for place in places]
        ['.', 'val2017']
    """
    beside = annotations.parent
    inside = beside != folder and folder in beside.parents
    bases = [beside, folder] if inside else [folder]
    if inside and beside.name.lower() == "annotations" and beside.parent != folder:
        bases.insert(1, beside.parent)
    found = list(_existing(bases, _PLACES, folder))
    own = list(_existing(bases, _of(split), folder))
    found += own
    if split == "val" and (not own or split_from_name(within(folder, annotations)) != "val"):
        found += _existing(bases, _of("train"), folder)
    return list(dict.fromkeys(found))


def within(folder: Path, path: Path) -> Path:
    """The path as seen from the folder, whose own name and place say nothing about what is in it.

    Example:
        >>> within(Path("test"), Path("test/train/labels.json")) == Path("train/labels.json")
        True
    """
    return path.relative_to(folder) if folder in path.parents else Path(path.name)


def _of(split: str) -> list[str]:
    return [place.format(word) for word in SPELLINGS.get(split, (split,)) for place in _PLACES_OF_SPLIT]


def _existing(bases: list[Path], places: tuple[str, ...] | list[str], folder: Path) -> Iterator[Path]:
    """The data folder itself is a place even if it does not exist: a message must name it."""
    for place in places:
        for base in bases:
            if (base / place).is_dir() or (base / place) == folder:
                yield base / place
