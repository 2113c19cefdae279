"""A run in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsct.complete_files import replaced_when_complete
from dsct.train.loggers.callback import Callback, RunInfo, imported

ID_FILE = "wandb_id.txt"


class WandB(Callback):
    """Logs to Weights & Biases; a resumed run goes on under its old id.

    Where and how is decided by W&B's own variables, such as ``WANDB_PROJECT`` and ``WANDB_MODE=offline``.

    Args:
        **options: for ``wandb.init``, such as ``project`` or ``tags``.

    Raises:
        ImportError: the package ``wandb`` is missing.

    Example:
        >>> logger = WandB(project="emotions", tags=["first"])  # doctest: +SKIP
    """

    def __init__(self, **options: Any) -> None:
        self._wandb = imported("wandb", "wandb")
        self._options = options
        self._run: Any = None

    def on_start(self, run: RunInfo) -> None:
        known = run.run_dir / ID_FILE
        options: dict[str, Any] = {"name": run.run_dir.name, "dir": str(run.run_dir), "config": dict(run.config)}
        if run.resumed_at is not None and known.is_file():
            options |= {"id": known.read_text(encoding="utf-8").strip(), "resume": "allow"}
        self._run = self._wandb.init(**{**options, **self._options})
        with replaced_when_complete(known) as partial:
            partial.write_text(str(self._run.id), encoding="utf-8")
        # An axis of its own: W&B's own step may not go back, as it does where a stopped run is resumed.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def on_step(self, record: Mapping[str, Any]) -> None:
        self._log("step", record)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        self._log("epoch", record)

    def on_end(self, error: BaseException | None) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if error is None else 1)
            self._run = None

    def _log(self, kind: str, record: Mapping[str, Any]) -> None:
        named = {f"{kind}/{name}": value for name, value in record.items() if name != "step"}
        self._run.log({**named, "step": record["step"]})
