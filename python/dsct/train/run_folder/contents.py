"""What a folder holds: a run with a state, a start that was ended before its first state, or neither."""

from __future__ import annotations

from pathlib import Path

from dsct.checkpoint.files import BEST
from dsct.train.run_config import NAME
from dsct.train.run_folder.lock import LOCK

LAST = "last.pt"


def has_state(run_dir: Path, resume: bool) -> bool:
    """Whether there is a state to go on from; if not, the run begins.

    A start that was ended before its first state holds nothing to keep: it may begin again, with or without `resume`.

    Args:
        run_dir: the folder.
        resume: whether the user wants to go on.

    Raises:
        FileExistsError: the folder has a state or weights, and `resume` is off.
        FileNotFoundError: nothing began there, or its state is gone while its weights are there.
    """
    state, weights = (run_dir / LAST).is_file(), (run_dir / BEST).is_file()
    if not resume and (state or weights):
        raise FileExistsError(
            f"{run_dir} already holds a run: add --resume (fit(resume=True)) to go on with it, or "
            "choose another --run-dir"
        )
    if resume and weights and not state:
        raise FileNotFoundError(
            f"no training state at {run_dir / LAST}, but there is {run_dir / BEST}: start a new run from these weights "
            "(--weights) in another --run-dir"
        )
    if resume and not state and not ((run_dir / NAME).is_file() or is_hardly_begun(run_dir)):
        raise FileNotFoundError(f"no training state at {run_dir / LAST}")
    return state


def is_hardly_begun(run_dir: Path) -> bool:
    """Whether a trainer was ended here before it wrote which run this is."""
    names = {path.name for path in run_dir.iterdir()} if run_dir.is_dir() else set()
    return LOCK in names and not names & {NAME, LAST, BEST}


def remove_partial_files(run_dir: Path) -> None:
    """Removes what writers that were killed left; only for the one trainer of the folder."""
    for partial in run_dir.glob(".*.partial"):
        partial.unlink(missing_ok=True)
