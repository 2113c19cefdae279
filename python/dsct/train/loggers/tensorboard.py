"""A run in TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from dsct.train.loggers.callback import Callback, RunInfo, imported


class TensorBoard(Callback):
    """Writes all numbers to the folder ``tensorboard`` of the run.

    Raises:
        ImportError: the package ``tensorboard`` is missing.

    Example:
        >>> TensorBoard.is_installed()
        True
    """

    def __init__(self) -> None:
        imported("tensorboard", "tensorboard")
        self._board: Any = None

    @staticmethod
    def is_installed() -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec("tensorboard") is not None

    def on_start(self, run: RunInfo) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard itself drops what an earlier process of this run wrote after the step from which it continues.
        purge = (run.resumed_at or 0) + 1
        self._board = SummaryWriter(str(run.run_dir / "tensorboard"), purge_step=purge)

    def on_step(self, record: Mapping[str, Any]) -> None:
        self._add("step", record)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        self._add("epoch", record)

    def on_end(self, error: BaseException | None) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def _add(self, kind: str, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)):
                self._board.add_scalar(f"{kind}/{name}", value, record["step"])
