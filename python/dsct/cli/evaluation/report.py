"""An evaluation as JSON, as Markdown and as figures in a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsct.cli.evaluation.numbers import as_json, write_json
from dsct.complete_files import replaced_when_complete
from dsct.metrics import Evaluation
from dsct.metrics.details.subgroups import MOST_VALUES
from dsct.metrics.tables import Share, Table, all_tables
from dsct.visualize.calibration import calibration_figure
from dsct.visualize.drawing.figure import NotebookFigure
from dsct.visualize.drawing.saving import save_figure
from dsct.visualize.evaluation import class_figure, confusion_figure, subjects_figure
from dsct.visualize.precision_recall import precision_recall_figure
from dsct.visualize.subgroups import subgroup_figure


def write_report(evaluation: Evaluation, facts: Mapping[str, Any], folder: Path, drawn: Sequence[str] = ()) -> None:
    """Writes ``evaluation.json``, ``evaluation.md`` and the figures that the Markdown shows.

    `drawn` names those that are already in the folder, without ``.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(as_json(evaluation, facts), folder / "evaluation.json")
    figures = figures_of(evaluation)
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")
    with replaced_when_complete(folder / "evaluation.md") as partial:
        partial.write_text(as_markdown(evaluation, facts, [*figures, *drawn]), encoding="utf-8")


def figures_of(evaluation: Evaluation) -> dict[str, NotebookFigure]:
    """Every figure that the evaluation has numbers for, by name."""
    official = evaluation["official"]
    figures = {"classes": class_figure(evaluation), "people_per_image": subjects_figure(evaluation)}
    if official.confusion is not None:
        figures["confusion"] = confusion_figure(official)
    if evaluation.details is not None:
        figures["precision_recall"] = precision_recall_figure(evaluation)
        figures["calibration"] = calibration_figure(evaluation.details.calibration)
        if evaluation.details.subgroups:
            figures["groups"] = subgroup_figure(evaluation)
    return figures


def as_markdown(evaluation: Evaluation, facts: Mapping[str, Any], figures: Sequence[str]) -> str:
    """For people: tables, what the numbers mean, figures, and what was evaluated."""
    lines = [
        "# Evaluation",
        "",
        f"{evaluation.num_people} people in {evaluation.num_images} images. Labels: {evaluation.labels}."
        f"{_about_intervals(evaluation)}",
        "",
        *(line for table in all_tables(evaluation) for line in (*_table(table), "")),
        *_about_details(evaluation),
        *(f"![{name.replace('_', ' ')}]({name}.png)" for name in figures),
        "",
        "## What was evaluated",
        "",
        *_facts(facts),
    ]
    if evaluation.throughput is not None:
        lines.append(f"- speed: {evaluation.throughput.images_per_second:.1f} images/s, loading included")
    return "\n".join(lines) + "\n"


def _about_intervals(evaluation: Evaluation) -> str:
    if evaluation.bootstrap is None:
        return ""
    return (f" In brackets: {100 * evaluation.bootstrap.confidence:g} % bootstrap interval over images, "
            f"{evaluation.bootstrap.resamples} resamples; where few people show a class, repeated images raise "
            "its average precision, and the interval can lie above the value.")  # fmt: skip


def _about_details(evaluation: Evaluation) -> list[str]:
    """Chance, calibration and the worst images in words."""
    metric = evaluation["official"].metric
    chance = {"accuracy": "the share of the most frequent class", "mAP": "the mean share of people who show a class"}
    lines = [f"Chance, {chance[metric]}, is what needs no model.", ""]
    details = evaluation.details
    if details is None:
        return lines
    found = details.calibration
    of = "mean over classes" if metric == "mAP" else "of the probability of the predicted class"
    lines += [f"Expected calibration error, {of}, in {len(found.edges) - 1} bins: {_value(Share(found.error))}.", ""]
    if details.ungrouped:
        lines += [f"No groups by {', '.join(details.ungrouped)}: more than {MOST_VALUES} values.", ""]
    rows = [(one.name, str(one.people), str(one.missed), str(one.wrong), "–" if math.isnan(one.loss) else
             f"{one.loss:.3f}") for one in details.worst_images]  # fmt: skip
    if rows:
        columns = ("image", "people", "missed", "wrong", "loss")
        lines += [*_table(Table("images with the most mistakes", columns, tuple(rows))), ""]
    return lines


def _facts(facts: Mapping[str, Any]) -> list[str]:
    """Everything that the numbers depend on, as a list."""
    data, batches = facts["data"], facts["batches"]
    lines = [f"weights: `{facts['weights']}`, SHA-256 `{facts['weights_sha256']}`", f"data: {data['description']}"]
    if data["folder"] is not None:
        lines.append(f"folder: `{data['folder']}`")
    lines += [f"{what.replace('_', ' ')}: {', '.join(f'{n} x {reason}' for reason, n in data[what].items()) or 'none'}"
              for what in ("left_out", "mended")]  # fmt: skip
    if data["unreadable"]:
        lines.append(f"images that cannot be read, left out: {'; '.join(data['unreadable'])}")
    if data["fingerprint"] is not None:
        lines.append(f"fingerprint of the data: `{data['fingerprint']}`")
    lines += [
        facts["run"] or "the weights are in no folder of a run that says what they were trained on",
        f"classes: {', '.join(facts['class_names'])}; {'several' if facts['multi_label'] else 'one'} per person",
        *(f"**{name}**: {definition}" for name, definition in facts["protocol_definitions"].items()),
        f"IoU above which the paper protocol drops a duplicate: {facts['nms_iou']}",
        f"batches of at most {batches['size']}: {batches['handling']}",
        f"device: {facts['device']}",
        ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    ]
    return [f"- {line}" for line in lines]


def _table(table: Table) -> list[str]:
    """Its title, a heading, a rule and the rows."""
    rule = ["---", *(["---:"] * (len(table.columns) - 1))]
    rows = [[_value(cell) if isinstance(cell, Share) else _escaped(cell) for cell in row] for row in table.rows]
    return [f"{table.title.capitalize()}:", "", *(f"| {' | '.join(line)} |" for line in (table.columns, rule, *rows))]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _value(share: Share) -> str:
    """Percent, with the interval in brackets; a dash where there is no number."""
    text = "–" if math.isnan(share.value) else f"{share.value:.2%}"
    if share.interval is None or np.isnan(share.interval).any():
        return text
    return f"{text} ({100 * share.interval[0]:.1f}–{100 * share.interval[1]:.1f})"
