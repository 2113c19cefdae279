"""The picture of a run's log."""

from __future__ import annotations

from pathlib import Path

from dsct.complete_files import replaced_when_complete
from dsct.train.run_folder.lock import require_lock
from dsct.visualize.loss_curves import loss_curves

CURVES = "curves.png"


def draw_curves(run_dir: Path) -> None:
    """Draws what ``log.csv`` of a run holds to ``curves.png``.

    Raises:
        OSError: the picture cannot be written.
        ValueError: the log has no number to draw.
    """
    require_lock(run_dir)
    with replaced_when_complete(run_dir / CURVES) as partial:
        loss_curves({run_dir.name: run_dir}).savefig(partial, format="png")
