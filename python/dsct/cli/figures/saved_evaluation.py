"""An evaluation as ``dsct eval --out`` saved it, for the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.json_text import read_json
from dsct.metrics import (
    PROTOCOLS,
    Bootstrap,
    Calibration,
    Details,
    Evaluation,
    Intervals,
    PrecisionRecall,
    ProtocolResult,
    Subgroup,
)


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
        return _evaluation(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} must be what `dsct eval` writes as JSON: {error!r}") from error


def _evaluation(content: Mapping[str, Any]) -> Evaluation:
    protocols, people = content["protocols"], int(content["people"])
    return Evaluation(
        protocols={name: _protocol(name, protocols[name], people) for name in PROTOCOLS if name in protocols},
        labels=str(content["labels"]),
        num_images=int(content["images"]),
        num_people=people,
        box_recall=_number(content["box_recall"]),
        box_recall_by_subjects=_numbers(content["box_recall_by_subjects"]),
        box_recall_interval=_interval(content.get("box_recall_interval")),
        bootstrap=Bootstrap(**content["bootstrap"]) if content.get("bootstrap") else None,
        details=_details(content) if content.get("calibration") else None,
    )


def _details(content: Mapping[str, Any]) -> Details:
    """Without the worst images, which no figure shows."""
    curves = dict(content["precision_recall"])
    recall = np.array(_numbers_of(curves.pop("recall")))
    return Details(
        {protocol: tuple(_curve(name, one, recall) for name, one in of.items()) for protocol, of in curves.items()},
        _calibration(content["calibration"]),
        tuple(_subgroup(one) for one in content["subgroups"]),
        (),
    )


def _curve(name: str, saved: Mapping[str, Any], recall: NDArray[np.float64]) -> PrecisionRecall:
    """At the recalls where it was written down, as far as it reaches."""
    precision, thresholds = (np.array(_numbers_of(saved[part])) for part in ("precision", "threshold"))
    reached = ~np.isnan(precision)
    return PrecisionRecall(name, thresholds[reached], precision[reached], recall[reached])


def _calibration(saved: Mapping[str, Any]) -> Calibration:
    rows = saved["of"]
    parts = {part: [_numbers_of(row[part]) for row in rows.values()] for part in ("people", "confidence", "share")}
    return Calibration(
        names=tuple(rows),
        edges=np.array(_numbers_of(saved["edges"])),
        count=np.array(parts["people"]).astype(np.int64),
        confidence=np.array(parts["confidence"]),
        share=np.array(parts["share"]),
        errors=np.array([_number(row["error"]) for row in rows.values()]),
    )


def _subgroup(saved: Mapping[str, Any]) -> Subgroup:
    return Subgroup(
        attribute=str(saved["attribute"]),
        name=str(saved["name"]),
        people=int(saved["people"]),
        value=_number(saved["value"]),
        chance=_number(saved["chance"]),
        box_recall=_number(saved["box_recall"]),
        per_class=np.array(list(_numbers(saved["per_class"]).values())),
        support=np.array(list(saved["support"].values()), np.int64),
        interval=_interval(saved["interval"]),
        box_recall_interval=_interval(saved["box_recall_interval"]),
    )


def _protocol(name: str, saved: Mapping[str, Any], people: int) -> ProtocolResult:
    return ProtocolResult(
        protocol=name,
        class_names=tuple(saved["support"]),
        average_precision=np.array(list(_numbers(saved["average_precision"]).values())),
        support=np.array(list(saved["support"].values()), np.int64),
        confusion=None if saved["confusion"] is None else np.array(saved["confusion"], np.int64),
        by_subjects=_numbers(saved["by_subjects"]),
        intervals=_intervals(saved),
        people=people,
        chance_by_subjects=_numbers(saved["chance_by_subjects"]),
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
