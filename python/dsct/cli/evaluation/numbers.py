"""An evaluation in JSON's types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsct.complete_files import replaced_when_complete
from dsct.metrics import Calibration, Details, Evaluation, PrecisionRecall, ProtocolResult, Subgroup
from dsct.metrics.details.precision_recall import RECALL_LEVELS


def as_json(evaluation: Evaluation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, with `facts` first: a value that does not exist is null."""
    content = {
        **facts,
        "labels": evaluation.labels,
        "images": evaluation.num_images,
        "people": evaluation.num_people,
        "box_recall": evaluation.box_recall,
        "box_recall_interval": evaluation.box_recall_interval,
        "box_recall_by_subjects": dict(evaluation.box_recall_by_subjects),
        "bootstrap": None if evaluation.bootstrap is None else vars(evaluation.bootstrap),
        "throughput": None if evaluation.throughput is None else
        {**vars(evaluation.throughput), "images_per_second": evaluation.throughput.images_per_second},
        "protocols": {name: _protocol(result) for name, result in evaluation.protocols.items()},
        **_details(evaluation.details, next(iter(evaluation.protocols.values())).class_names),
    }  # fmt: skip
    return {key: _plain(value) for key, value in content.items()}


def write_json(content: Any, path: Path) -> None:
    """Writes JSON, complete or not at all."""
    with replaced_when_complete(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _protocol(result: ProtocolResult) -> dict[str, Any]:
    names = result.class_names
    content: dict[str, Any] = {
        result.metric: result.value,
        "chance": result.chance,
        "mAP": result.mean_average_precision,
        "per_class": dict(zip(names, result.per_class, strict=True)),
        "average_precision": dict(zip(names, result.average_precision, strict=True)),
        "support": dict(zip(names, result.support, strict=True)),
        "prevalence": dict(zip(names, result.prevalence, strict=True)),
        "by_subjects": dict(result.by_subjects),
        "chance_by_subjects": dict(result.chance_by_subjects),
        "confusion": result.confusion,
    }
    if result.intervals is not None:
        content["interval"] = result.intervals.value
        content["per_class_interval"] = dict(zip(names, result.intervals.per_class, strict=True))
        content["by_subjects_interval"] = dict(result.intervals.by_subjects)
    if result.label_quality is not None:
        quality = result.label_quality
        content["at_thresholds"] = {
            "macro_f1": quality.macro_f1,
            **{part: dict(zip(names, getattr(quality, part), strict=True))
               for part in ("thresholds", "precision", "recall", "f1")},
        }  # fmt: skip
    return content


def _details(details: Details | None, class_names: Sequence[str]) -> dict[str, Any]:
    if details is None:
        return {}
    return {
        "calibration": _calibration(details.calibration),
        "subgroups": [_subgroup(one, class_names) for one in details.subgroups],
        "ungrouped_attributes": details.ungrouped,
        "worst_images": [
            {"image": one.name, "people": one.people, "missed": one.missed, "wrong": one.wrong, "loss": one.loss}
            for one in details.worst_images
        ],
        "precision_recall": {
            "recall": RECALL_LEVELS,
            **{protocol: {curve.name: _curve(curve) for curve in curves}
               for protocol, curves in details.precision_recall.items()},
        },
    }  # fmt: skip


def _calibration(found: Calibration) -> dict[str, Any]:
    return {
        "protocol": "official",
        "expected_calibration_error": found.error,
        "edges": found.edges,
        "of": {
            name: {"error": found.errors[row], "people": found.count[row], "confidence": found.confidence[row],
                   "share": found.share[row]}
            for row, name in enumerate(found.names)
        },
    }  # fmt: skip


def _subgroup(one: Subgroup, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "attribute": one.attribute,
        "name": one.name,
        "people": one.people,
        "value": one.value,
        "interval": one.interval,
        "chance": one.chance,
        "box_recall": one.box_recall,
        "box_recall_interval": one.box_recall_interval,
        "per_class": dict(zip(class_names, one.per_class, strict=True)),
        "support": dict(zip(class_names, one.support, strict=True)),
    }


def _curve(curve: PrecisionRecall) -> dict[str, Any]:
    precision, threshold = curve.at()
    return {"precision": precision, "threshold": threshold}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
