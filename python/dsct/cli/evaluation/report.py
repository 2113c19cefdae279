"""An evaluation as JSON, as Markdown and as figures in a folder."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dsct
from dsct.checkpoint import replaced_when_complete
from dsct.metrics import DEFINITIONS, Evaluation, ProtocolResult
from dsct.metrics.tables import Share, Table, by_class, by_people
from dsct.visualize.evaluation import class_figure, confusion_figure, subjects_figure


def as_json(evaluation: Evaluation, about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, in JSON's types: a value that does not exist is null."""
    content = {
        **about,
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
    }  # fmt: skip
    return {key: _plain(value) for key, value in content.items()}


def write_report(evaluation: Evaluation, about: Mapping[str, Any], folder: Path, drawn: Sequence[str] = ()) -> None:
    """Writes ``evaluation.json``, ``evaluation.md`` and the figures that the Markdown shows.

    `drawn` names those that are already in the folder, without ``.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(as_json(evaluation, about), folder / "evaluation.json")
    official = evaluation["official"]
    figures = {"classes": class_figure(evaluation), "people_per_image": subjects_figure(evaluation)}
    if official.confusion is not None:
        figures["confusion"] = confusion_figure(official)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    with replaced_when_complete(folder / "evaluation.md") as partial:
        partial.write_text(as_markdown(evaluation, about, [*figures, *drawn]), encoding="utf-8")


def write_json(content: Any, path: Path) -> None:
    """Writes JSON, complete or not at all."""
    with replaced_when_complete(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def about_evaluation(weights: Path, data: str) -> dict[str, Any]:
    """What was evaluated: weights by their SHA-256, a description of the data, versions."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    versions = {"dsct": dsct.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {"weights": weights.name, "weights_sha256": digest, "data": data, "versions": versions}


def as_markdown(evaluation: Evaluation, about: Mapping[str, Any], figures: list[str]) -> str:
    """Tables for people: headline values, classes, what the protocols mean, and what was evaluated."""
    interval = ""
    if evaluation.bootstrap is not None:
        interval = (f" In brackets: {evaluation.bootstrap.confidence:.0%} bootstrap interval over images, "
                    f"{evaluation.bootstrap.resamples} resamples; where few people show a class, repeated images raise "
                    "its average precision, and the interval can lie above the value.")  # fmt: skip
    lines = [
        "# Evaluation",
        "",
        f"{evaluation.num_people} people in {evaluation.num_images} images. Labels: {evaluation.labels}.{interval}",
        "",
        *_table(by_people(evaluation)),
        "",
        *(f"- **{name}**: {definition}" for name, definition in DEFINITIONS.items()),
        "",
        *_table(by_class(evaluation)),
        "",
        *(f"![{name.replace('_', ' ')}]({name}.png)" for name in figures),
        "",
        f"Weights `{about['weights']}`, SHA-256 `{about['weights_sha256']}`. Data: {about['data']}. "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".",
    ]  # fmt: skip
    if evaluation.throughput is not None:
        lines += ["", f"{evaluation.throughput.images_per_second:.1f} images/s, loading included."]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    """Its title, a heading, a rule and the rows."""
    rule = ["---", *(["---:"] * (len(table.columns) - 1))]
    rows = [[_value(cell) if isinstance(cell, Share) else cell for cell in row] for row in table.rows]
    return [f"{table.title.capitalize()}:", "", *(f"| {' | '.join(line)} |" for line in (table.columns, rule, *rows))]


def _value(share: Share) -> str:
    """Percent, with the interval in brackets; a dash where there is no number."""
    text = "–" if math.isnan(share.value) else f"{share.value:.2%}"
    if share.interval is None or np.isnan(share.interval).any():
        return text
    return f"{text} ({100 * share.interval[0]:.1f}–{100 * share.interval[1]:.1f})"


def _protocol(result: ProtocolResult) -> dict[str, Any]:
    names = result.class_names
    content: dict[str, Any] = {
        result.metric: result.value,
        "mAP": result.mean_average_precision,
        "per_class": dict(zip(names, result.per_class, strict=True)),
        "average_precision": dict(zip(names, result.average_precision, strict=True)),
        "support": dict(zip(names, result.support, strict=True)),
        "by_subjects": dict(result.by_subjects),
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
