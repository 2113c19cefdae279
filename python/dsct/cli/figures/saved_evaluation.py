"""An evaluation as ``dsct eval --out`` saved it, for the figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.metrics import PROTOCOLS, Bootstrap, Evaluation, Intervals, ProtocolResult


def read_evaluation(path: Path) -> Evaluation:
    """Reads an ``evaluation.json``, or that in a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what ``dsct eval`` writes.
    """
    path = path / "evaluation.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no evaluation at {path}; `dsct eval --out` or `--json` writes one")
    try:
        return _evaluation(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} must be what `dsct eval` writes as JSON: {error!r}") from error


def _evaluation(content: Mapping[str, Any]) -> Evaluation:
    protocols = content["protocols"]
    return Evaluation(
        protocols={name: _protocol(name, protocols[name]) for name in PROTOCOLS if name in protocols},
        labels=str(content["labels"]),
        num_images=int(content["images"]),
        num_people=int(content["people"]),
        box_recall=_number(content["box_recall"]),
        box_recall_by_subjects=_numbers(content["box_recall_by_subjects"]),
        box_recall_interval=_interval(content.get("box_recall_interval")),
        bootstrap=Bootstrap(**content["bootstrap"]) if content.get("bootstrap") else None,
    )


def _protocol(name: str, saved: Mapping[str, Any]) -> ProtocolResult:
    return ProtocolResult(
        protocol=name,
        class_names=tuple(saved["support"]),
        average_precision=np.array(list(_numbers(saved["average_precision"]).values())),
        support=np.array(list(saved["support"].values()), np.int64),
        confusion=None if saved["confusion"] is None else np.array(saved["confusion"], np.int64),
        by_subjects=_numbers(saved["by_subjects"]),
        intervals=_intervals(saved),
    )


def _intervals(saved: Mapping[str, Any]) -> Intervals | None:
    value = _interval(saved.get("interval"))
    if value is None:
        return None
    per_class = np.array([_numbers_of(ends) for ends in saved["per_class_interval"].values()])
    by_subjects = {key: np.array(_numbers_of(ends)) for key, ends in saved["by_subjects_interval"].items()}
    return Intervals(value, per_class, by_subjects)


def _interval(ends: Any) -> NDArray[np.float64] | None:
    return None if ends is None else np.array(_numbers_of(ends))


def _numbers_of(values: list[float | None]) -> list[float]:
    return [_number(value) for value in values]


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: _number(value) for key, value in values.items()}


def _number(value: float | None) -> float:
    """JSON has no NaN: a value that does not exist is null."""
    return math.nan if value is None else float(value)
