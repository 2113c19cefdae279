"""``dsct eval``."""

from __future__ import annotations

import dataclasses
import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import dsct
from dsct.cli.datasets import describe, describe_folder, describe_scenes, open_data
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.cli.evaluation.report import about_evaluation, as_json, write_json, write_report
from dsct.cli.options import AnnotationsOption, DataOption, DatasetName, LabelsOption, Split, ValFractionOption
from dsct.cli.progress import progress_bar
from dsct.data import evaluation_transform
from dsct.metrics import Bootstrap, Evaluation, Evaluator, tables
from dsct.metrics import evaluate as run_evaluation
from dsct.metrics.tables import Share
from dsct.prediction.shipped_weights import SHIPPED_WEIGHTS
from dsct.visualize import contact_sheet


class ThresholdRule(str, Enum):
    """How thresholds are fitted."""

    break_even = "break-even"
    f1 = "f1"


@one_line_errors
def evaluate(
    dataset: Annotated[DatasetName, typer.Argument(help="What to evaluate on.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    val_fraction: ValFractionOption = None,
    weights: Annotated[Path, typer.Option(help="Weights; by default those that come with dsct.")] = SHIPPED_WEIGHTS,
    split: Annotated[Split, typer.Option(help="Split of the data set.")] = Split.test,
    nms_iou: Annotated[float, typer.Option(help="Overlap above which the paper protocol drops a duplicate.")] = 0.5,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for the intervals; 0: no intervals.")] = 1000,
    fit_thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fit a threshold per class on --split val; write the model with them here."),
    ] = None,
    threshold_rule: Annotated[ThresholdRule, typer.Option(help="Precision = recall, or best F1.")] = (
        ThresholdRule.break_even
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for JSON, Markdown and figures.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.")] = 8,
    workers: Annotated[int, typer.Option(help="Processes that load images.")] = 0,
    device: DeviceOption = "auto",
    size: Annotated[int, typer.Option(help="Synthetic: number of images.")] = 500,
    image_size: Annotated[str, typer.Option(help="Synthetic: WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="Synthetic: 0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    cache_dir: Annotated[Path | None, typer.Option(help="Synthetic: cache generated images here.")] = None,
) -> None:
    """Evaluate weights under the three protocols: official, paper and detection."""
    model = dsct.load_model(weights, choose_device(device))
    config = model.config
    if fit_thresholds is not None and (split is not Split.val or not config.multi_label):
        raise ValueError("--fit-thresholds needs --split val and a multi-label model: test data must not choose them")
    if dataset is DatasetName.synthetic:
        about = describe_scenes({split.value: size}, image_size, difficulty, config.multi_label)
    else:
        several = config.multi_label and dataset is DatasetName.coco  # for the others it is known
        about = describe_folder(dataset, data, annotations, labels, several, val_fraction)
    opened = open_data(about, split.value, evaluation_transform(**(model.preprocess or {})), cache_dir)
    if tuple(opened.class_names) != tuple(config.names):
        raise ValueError(f"{weights} was trained for the classes {list(config.names)}, {dataset.value} has "
                         f"{list(opened.class_names)}")  # fmt: skip
    source = (
        f"{image_size}, difficulty {difficulty}" if dataset is DatasetName.synthetic else getattr(opened, "source", "")
    )
    evaluator = Evaluator(
        config.names, config.multi_label, nms_iou=nms_iou, labels=f"{dataset.value} {split.value}, {source}"
    )
    console = Console()
    console.print(describe(opened), highlight=False, markup=False)
    evaluation = _run(model, opened, evaluator, batch_size, workers, console)
    if fit_thresholds is not None:
        model.thresholds = evaluator.fit_thresholds(threshold_rule.value).tolist()
        dsct.save_model(model, fit_thresholds)
        console.print(f"thresholds, {threshold_rule.value}, written with the weights to {fit_thresholds}")
    evaluated = evaluator.compute(Bootstrap(resamples) if resamples else None, model.thresholds)
    evaluation = dataclasses.replace(evaluated, throughput=evaluation.throughput)
    show(evaluation, console)
    facts = about_evaluation(weights, describe(opened))
    if json_path is not None:
        write_json(as_json(evaluation, facts), json_path)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        drawn = _draw_examples(model, opened, out / "examples.png")
        write_report(evaluation, facts, out, ["examples"] if drawn else [])
        console.print(f"report: {out / 'evaluation.md'}")


def _run(
    model: dsct.DSCT, data: Any, evaluator: Evaluator, batch_size: int, workers: int, console: Console
) -> Evaluation:
    with progress_bar(console) as progress:
        task = progress.add_task("evaluating", total=len(data))
        return run_evaluation(
            model, data, dsct.PostProcess(model.config), evaluator, batch_size=batch_size, workers=workers,
            device=next(model.parameters()).device,
            on_batch=lambda _outputs, batch: progress.advance(task, len(batch.images)),
        )  # fmt: skip


def _draw_examples(model: dsct.DSCT, data: Any, path: Path, count: int = 9) -> bool:
    """A page of the first images with people, predictions compared with the truth; False if there are none."""
    data.transforms = None
    chosen = [index for index in range(len(data)) if len(data.annotations(index))][:count]
    items = []
    for index in chosen:
        image = data[index][0]
        items.append((image, dsct.predict(image, model), data.annotations(index)))
    if items:
        contact_sheet(items, path)
    return bool(items)


def show(evaluation: Evaluation, console: Console) -> None:
    """Prints the headline values by protocol, the classes, and the confusion matrix if there is one."""
    console.print(f"{evaluation.num_people} people in {evaluation.num_images} images, labels: {evaluation.labels}")
    if evaluation.throughput is not None:
        console.print(f"{evaluation.throughput.images_per_second:.1f} images/s, loading included")
    confidence = 0.0 if evaluation.bootstrap is None else evaluation.bootstrap.confidence
    for numbers in (tables.by_people(evaluation), tables.by_class(evaluation)):
        console.print(_printed(numbers, confidence))
    official = evaluation["official"]
    if official.confusion is not None:
        confusion = Table("true \\ predicted", *official.class_names, title="confusion matrix, official protocol")
        for name, row in zip(official.class_names, official.confusion, strict=True):
            confusion.add_row(name, *(str(count) for count in row))
        console.print(confusion)


def _printed(numbers: tables.Table, confidence: float) -> Table:
    """The intervals of the first column that has some stand beside it; those of all would not fit into 80 columns."""
    # Padding on one side only, for the same reason.
    table = Table(title=f"{numbers.title}, %", padding=(0, 0, 0, 1))
    with_interval = next((at for at, cell in enumerate(numbers.rows[0]) if _interval(cell) is not None), None)
    for at, heading in enumerate(numbers.columns):
        table.add_column(heading, justify="right" if at else "left", no_wrap=not at)
        if at == with_interval:
            table.add_column(f"{confidence:.0%}", justify="right")
    for row in numbers.rows:
        cells = []
        for at, cell in enumerate(row):
            cells.append(_short(cell.value) if isinstance(cell, Share) else cell)
            if at == with_interval:
                cells.append(_ends(_interval(cell)))
        table.add_row(*cells)
    return table


def _interval(cell: str | Share) -> NDArray[np.float64] | None:
    return cell.interval if isinstance(cell, Share) else None


def _short(value: float) -> str:
    """Percent with one decimal, so that a table fits a terminal."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _ends(interval: NDArray[np.float64] | None) -> str:
    return "–" if interval is None or math.isnan(interval[0]) else f"{_short(interval[0])}–{_short(interval[1])}"
