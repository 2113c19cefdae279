"""The split of a file, and the share of training data that is used for validation."""

from __future__ import annotations

import re
from pathlib import Path

VAL_FRACTION = 1 / 7
"""One tenth of a data set of which seven tenths are for training, one for validation and two for testing."""

WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What people call the splits, in the names of files and folders."""

SPELLINGS = {split: (*words, *map(str.capitalize, words)) for split, words in WORDS.items()}
"""The same with capitals, as CVAT writes its subsets."""

_SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(_SPLIT_OF)})(?![a-z])")
_NAMES_OF_ANY_SPLIT = {
    "_annotations", "_annotations.coco", "annotations", "instances", "instances_default", "labels", "result"
}  # fmt: skip


def split_from_name(path: Path) -> str:
    """The split in a file's name: ``train``, ``val`` or ``test``, else the name without its suffix.

    A name that says nothing leaves it to the file's folder; one that tools give to the file of any split also to the
    folder above.

    Example:
        >>> split_from_name(Path("emotic_val_bi.json")), split_from_name(Path("faces.csv"))
        ('val', 'faces')
        >>> split_from_name(Path("valid/people.json")), split_from_name(Path("test/annotations/labels.json"))
        ('val', 'test')
    """
    splits = {_SPLIT_OF[word] for word in _WORD.findall(path.stem.lower())}
    if not splits:
        above = 2 if path.stem.lower() in _NAMES_OF_ANY_SPLIT else 1
        splits = {split for folder in path.parents[:above] if (split := split_of_folder(folder.name))}
    return splits.pop() if len(splits) == 1 else path.stem


def split_called(name: str) -> str:
    """The split that somebody means by a word.

    Raises:
        ValueError: nobody means a split by it.

    Example:
        >>> split_called("valid"), split_called("test")
        ('val', 'test')
    """
    if name.lower() not in _SPLIT_OF:
        raise ValueError(f"split must be one of {', '.join(WORDS)}, got {name!r}")
    return _SPLIT_OF[name.lower()]


def split_of_folder(name: str) -> str | None:
    """The split that a folder holds if its whole name says so, perhaps with COCO's year.

    Example:
        >>> split_of_folder("valid"), split_of_folder("train2017"), split_of_folder("test_images")
        ('val', 'train', None)
    """
    return _SPLIT_OF.get(re.sub(r"20\d\d$", "", name.lower()))


def split_of_folders(path: Path) -> str:
    """The split that a folder of a path names, the innermost that does; nothing if none does.

    Example:
        >>> split_of_folders(Path("valid/images/a.png")), split_of_folders(Path("images/a.png"))
        ('val', '')
    """
    return next(filter(None, (split_of_folder(name) for name in reversed(path.parts[:-1]))), None) or ""


def of_split(path: Path, split: str) -> list[Path]:
    """The names that the file of another split would have beside a file whose name or folder says its own.

    Example:
        >>> [str(path) for path in of_split(Path("train/_annotations.coco.json"), "val")][:2]
        ['val/_annotations.coco.json', 'valid/_annotations.coco.json']
        >>> str(of_split(Path("annotations/instances_train2017.json"), "val")[0])
        'annotations/instances_val2017.json'
    """
    own = split_from_name(path)
    if own not in WORDS or split == own:
        return []
    pattern = re.compile(rf"(?<![a-z])({'|'.join(WORDS[own])})(?![a-z])", re.IGNORECASE)
    *above, second, first, name = ["", "", *path.parts]
    found = []
    for word in SPELLINGS[split]:
        if pattern.search(Path(name).stem):
            renamed = [*above, _renamed_folder(second, own, word), _renamed_folder(first, own, word)]
            found.append(Path(*renamed, pattern.sub(word, name)))
            found.append(path.with_name(pattern.sub(word, name)))
        else:
            found.append(Path(*above, _renamed_folder(second, own, word), _renamed_folder(first, own, word), name))
    return list(dict.fromkeys(one for one in found if one != path))


def _renamed_folder(name: str, own: str, word: str) -> str:
    return word if split_of_folder(name) == own else name
