"""The weights of the best epoch, which may be gone or damaged when a run goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dsct.checkpoint.files import BEST, read_checkpoint
from dsct.train.progress import Progress
from dsct.train.run_config import NAME
from dsct.train.run_folder.contents import LAST
from dsct.train.run_folder.curves import CURVES


def lost_weights(run_dir: Path, progress: Progress) -> str | None:
    """What is wrong with ``best.safetensors``: a phrase, or None if it is there and whole, or no epoch was best yet."""
    if progress.best_epoch is None:
        return None
    path = run_dir / BEST
    if not path.is_file():
        return f"{path} with the weights of the best epoch, {progress.best_epoch}, is gone"
    try:
        is_whole = read_checkpoint(path).config is not None
    except (ValueError, TypeError):
        is_whole = False
    return None if is_whole else f"{path} with the weights of the best epoch, {progress.best_epoch}, is damaged"


def require_no_folders(run_dir: Path) -> None:
    """Before anything is computed: no folder may be where the run will write a file.

    Raises:
        IsADirectoryError: there is one; the error names it.
    """
    for name in (NAME, LAST, BEST, CURVES, "log.csv", "log.jsonl"):
        if (run_dir / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(run_dir / name))
