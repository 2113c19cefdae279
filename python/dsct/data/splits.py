"""Which split a file holds, and validation data cut from training data."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TypeVar

VAL_FRACTION = 1 / 7
"""One tenth of a data set of which seven tenths are for training, one for validation and two for testing."""

_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|idation)?(?![a-z])")
_Item = TypeVar("_Item")


def split_from_name(path: Path) -> str:
    """The split that a file name tells: ``train``, ``val`` or ``test``, else the name without its ending.

    Example:
        >>> split_from_name(Path("emotic_val_bi.json")), split_from_name(Path("faces.csv"))
        ('val', 'faces')
    """
    words = set(_SPLIT.findall(path.stem.lower()))
    return str(words.pop()) if len(words) == 1 else path.stem


def cut_validation(
    items: Sequence[_Item], keys: Sequence[str], strata: Sequence[Hashable], part: str, fraction: float, seed: int
) -> list[_Item]:
    """One of the two parts of a training split, the same whatever the order of the items.

    Items are drawn by a hash of seed and key, so that an item that is added or taken away moves hardly any other.

    Args:
        items: of the whole training split.
        keys: what names each item.
        strata: the class of each; every class gives the same fraction, rounded.
        part: ``"train"`` or ``"val"``.
        fraction: share of the validation part, in [0, 1).
        seed: another seed draws another part.

    Returns:
        The items of the part, in their order.

    Raises:
        ValueError: `fraction` or `part` is out of range.

    Example:
        >>> names = ["a", "b", "c", "d"]
        >>> val = cut_validation(names, names, [0, 0, 0, 0], "val", 0.25, 0)
        >>> train = cut_validation(names, names, [0, 0, 0, 0], "train", 0.25, 0)
        >>> len(val), sorted(val + train)
        (1, ['a', 'b', 'c', 'd'])
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction must be at least 0 and below 1, got {fraction}")
    if part not in ("train", "val"):
        raise ValueError(f"split must be 'train' or 'val' to cut validation data from training data, got {part!r}")
    draws = [hashlib.sha256(f"{seed}/{key}".encode()).digest() for key in keys]
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, stratum in enumerate(strata):
        groups[stratum].append(number)
    chosen: set[int] = set()
    for members in groups.values():
        members.sort(key=lambda number: draws[number])
        chosen.update(members[: round(len(members) * fraction)])
    return [item for number, item in enumerate(items) if (number in chosen) == (part == "val")]
