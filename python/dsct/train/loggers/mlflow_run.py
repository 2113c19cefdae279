"""A run in MLflow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dsct.complete_files import replaced_when_complete
from dsct.train.loggers.callback import Callback, RunInfo, imported

ID_FILE = "mlflow_id.txt"


class MLflow(Callback):
    """Logs to MLflow; a resumed run goes on under its old id.

    Where is decided by MLflow's own variables, such as ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME``.

    Args:
        **options: for ``mlflow.start_run``, such as ``tags``.

    Raises:
        ImportError: the package ``mlflow`` is missing.

    Example:
        >>> logger = MLflow(tags={"data": "mine"})  # doctest: +SKIP
    """

    def __init__(self, **options: Any) -> None:
        self._mlflow = imported("mlflow", "mlflow")
        self._options = options
        self._is_running = False

    def on_start(self, run: RunInfo) -> None:
        known = run.run_dir / ID_FILE
        goes_on = run.resumed_at is not None and known.is_file()
        if goes_on:
            started = self._mlflow.start_run(run_id=known.read_text(encoding="utf-8").strip(), **self._options)
        else:
            started = self._mlflow.start_run(run_name=run.run_dir.name, **self._options)
        self._is_running = True
        with replaced_when_complete(known) as partial:
            partial.write_text(str(started.info.run_id), encoding="utf-8")
        self._mlflow.log_dict(dict(run.config), "config.json")
        if not goes_on:  # a parameter of a run can be set only once
            self._mlflow.log_params(_flat(run.config))

    def on_step(self, record: Mapping[str, Any]) -> None:
        self._log("step", record)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        self._log("epoch", record)

    def on_end(self, error: BaseException | None) -> None:
        if self._is_running:
            self._mlflow.end_run(status="FINISHED" if error is None else _status(error))
            self._is_running = False

    def _log(self, kind: str, record: Mapping[str, Any]) -> None:
        numbers = {
            f"{kind}/{name}": float(value)
            for name, value in record.items()
            if name != "step" and isinstance(value, (int, float)) and math.isfinite(value)
        }
        self._mlflow.log_metrics(numbers, step=record["step"])


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of recipe and model, as MLflow shows them beside each other; what is longer is in ``config.json``."""
    return {
        f"{part}.{name}": value
        for part in ("train", "model")
        for name, value in config.get(part, {}).items()
        if len(str(value)) <= 250
    }


def _status(error: BaseException) -> str:
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
