"""The split of a file, and the share of training data that is used for validation."""

from __future__ import annotations

import re
from pathlib import Path

VAL_FRACTION = 1 / 7
"""One tenth of a data set of which seven tenths are for training, one for validation and two for testing."""

_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|idation)?(?![a-z])")


def split_from_name(path: Path) -> str:
    """The split in a file's name: ``train``, ``val`` or ``test``, else the name without its suffix.

    Example:
        >>> split_from_name(Path("emotic_val_bi.json")), split_from_name(Path("faces.csv"))
        ('val', 'faces')
    """
    words = set(_SPLIT.findall(path.stem.lower()))
    return str(words.pop()) if len(words) == 1 else path.stem
