"""Which split a file holds, and validation data cut from training data."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dsct.data.annotation_files.drafts import DraftFile

VAL_FRACTION = 1 / 7
"""One tenth of a data set of which seven tenths are for training, one for validation and two for testing."""

_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|idation)?(?![a-z])")


def split_from_name(path: Path) -> str:
    """The split that a file name tells: ``train``, ``val`` or ``test``, else the name without its ending.

    Example:
        >>> split_from_name(Path("emotic_val_bi.json")), split_from_name(Path("faces.csv"))
        ('val', 'faces')
    """
    words = set(_SPLIT.findall(path.stem.lower()))
    return str(words.pop()) if len(words) == 1 else path.stem


def cut_validation(
    file: DraftFile, split: str, fraction: float, seed: int, key: Callable[[str], str] = str, stratify: bool = True
) -> DraftFile:
    """One of the two parts of the training data in a file, the same whatever the order of its images.

    Images are drawn by a hash of seed and name, so that an image that is added or taken away moves hardly any other.

    Args:
        file: the whole training data.
        split: ``"train"`` or ``"val"``.
        fraction: share of the validation part, in (0, 1).
        seed: from 0 on; another seed draws another part.
        key: what stands for the name of an image.
        stratify: every class gives the same fraction, rounded; the class of an image is its smallest class number.

    Returns:
        The images of the part, in their order.

    Raises:
        ValueError: `fraction` or `split` is out of range.

    Example:
        >>> from dsct.data.annotation_files.drafts import Draft
        >>> file = DraftFile(Path("train.txt"), [Draft(name) for name in "abcd"], certain_sizes=False)
        >>> val, train = (cut_validation(file, split, 0.25, seed=0).images for split in ("val", "train"))
        >>> len(val), sorted(draft.name for draft in val + train)
        (1, ['a', 'b', 'c', 'd'])
    """
    if not 0 < fraction < 1:
        raise ValueError(f"val_fraction must be between 0 and 1, got {fraction}")
    if split not in ("train", "val"):
        raise ValueError(f"split must be 'train' or 'val' to cut validation data from {file.path}, got {split!r}")
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for number, draft in enumerate(file.images):
        stratum = min((label for labels in draft.labels for label in labels), default=-1) if stratify else 0
        groups[stratum].append(number)
    draws = [hashlib.sha256(f"{seed}/{key(draft.name)}".encode()).digest() for draft in file.images]
    chosen: set[int] = set()
    for members in groups.values():
        members.sort(key=lambda number: draws[number])
        chosen.update(members[: round(len(members) * fraction)])
    part = [draft for number, draft in enumerate(file.images) if (number in chosen) == (split == "val")]
    return replace(file, images=part)


def cut_in_words(split: str, fraction: float, seed: int) -> str:
    """What :func:`cut_validation` did, for ``source``.

    Example:
        >>> cut_in_words("val", 0.1, 3)
        'val part of training data cut with val_fraction 0.1, seed 3'
    """
    return f"{split} part of training data cut with val_fraction {fraction:.3g}, seed {seed}"
