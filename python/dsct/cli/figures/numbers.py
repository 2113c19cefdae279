"""``dsct figure``: what a training, an evaluation or a grid of runs left as numbers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from dsct.cli.figures.option_groups import Out, figure_command, named_paths

EvaluationArgument = Annotated[
    Path, typer.Argument(metavar="EVALUATION", help="The evaluation.json that `dsct eval` wrote, or its folder.")
]
COLUMNS = ("k_spatial", "k_semantic")


@figure_command
def sweep(
    to: Out,
    table: Annotated[Path, typer.Argument(help="CSV with the columns k_spatial, k_semantic and value.")],
    value: Annotated[str, typer.Option(help="Column of the metric; greater is better.")] = "value",
    metric: Annotated[str, typer.Option(help="What the metric is called.")] = "mAP, %",
) -> None:
    """Draw a metric over the sizes of the spatial and the semantic context set (paper, Fig. 11)."""
    from dsct.visualize import draw_k_sweep

    to.save(draw_k_sweep(_read_table(table, value), metric=metric), "sweep")


def _read_table(path: Path, value: str) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        wanted = (*COLUMNS, value)
        if not set(wanted) <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path} must have the columns {', '.join(wanted)}, got {', '.join(reader.fieldnames or ()) or 'none'}"
            )
        rows = []
        for row in reader:
            try:
                spatial, semantic, measured = (float(row[column]) for column in wanted)
            except (TypeError, ValueError) as error:
                got = ", ".join(f"{column} {row[column]!r}" for column in wanted)
                raise ValueError(f"{path}, line {reader.line_num}: expected numbers, got {got}") from error
            rows.append({"k_spatial": spatial, "k_semantic": semantic, "value": measured})
        return rows


@figure_command
def curves(
    to: Out,
    runs: Annotated[list[str], typer.Argument(metavar="[NAME=]RUN", help="Folders of runs, and what to call them.")],
) -> None:
    """Draw losses, score and chance, and the weights of the context sets, over the epochs of runs (paper, Fig. 12)."""
    from dsct.visualize import loss_curves

    to.save(loss_curves(named_paths(runs, "RUN")), "curves")


@figure_command
def classes(to: Out, evaluation: EvaluationArgument) -> None:
    """Draw the value of every class under every protocol, with its interval."""
    from dsct.cli.figures.saved_evaluation import read_evaluation
    from dsct.visualize.evaluation import class_figure

    to.save(class_figure(read_evaluation(evaluation)), "classes")


@figure_command
def people_per_image(to: Out, evaluation: EvaluationArgument) -> None:
    """Draw the value by number of people in the image (paper, Tables 4 and 12)."""
    from dsct.cli.figures.saved_evaluation import read_evaluation
    from dsct.visualize.evaluation import subjects_figure

    to.save(subjects_figure(read_evaluation(evaluation)), "people-per-image")


@figure_command
def confusion(
    to: Out,
    evaluation: EvaluationArgument,
    protocol: Annotated[str, typer.Option(help="official, paper or detection.")] = "official",
) -> None:
    """Draw the confusion matrix of a model that reports one emotion per person."""
    from dsct.cli.figures.saved_evaluation import read_evaluation
    from dsct.visualize.evaluation import confusion_figure

    saved = read_evaluation(evaluation)
    if protocol not in saved.protocols:
        raise ValueError(f"--protocol must be one of {', '.join(saved.protocols)}, got {protocol!r}")
    to.save(confusion_figure(saved[protocol]), "confusion")


@figure_command
def precision_recall(to: Out, evaluation: EvaluationArgument) -> None:
    """Draw precision over recall of every class, beside chance."""
    from dsct.cli.figures.saved_evaluation import read_evaluation
    from dsct.visualize.precision_recall import precision_recall_figure

    to.save(precision_recall_figure(read_evaluation(evaluation)), "precision-recall")


@figure_command
def calibration(to: Out, evaluation: EvaluationArgument) -> None:
    """Draw how often a class is right, by the probability that the model reports."""
    from dsct.cli.figures.saved_evaluation import read_evaluation
    from dsct.visualize.calibration import calibration_figure

    details = read_evaluation(evaluation).details
    if details is None:
        raise ValueError(f"{evaluation} has no calibration; `dsct eval` of this version writes it")
    to.save(calibration_figure(details.calibration), "calibration")


@figure_command
def groups(to: Out, evaluation: EvaluationArgument) -> None:
    """Draw the value of groups of people, such as of one age, where the data state it."""
    from dsct.cli.figures.saved_evaluation import read_evaluation
    from dsct.visualize.subgroups import subgroup_figure

    to.save(subgroup_figure(read_evaluation(evaluation)), "groups")
