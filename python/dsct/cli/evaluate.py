"""``dsct eval``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import dsct
from dsct.cli.errors import told_in_one_sentence
from dsct.cli.datasets import DatasetName, Split, parse_size
from dsct.cli.train import choose_device
from dsct.data import evaluation_transform
from dsct.metrics import Evaluation, Evaluator, ProtocolResult
from dsct.metrics import evaluate as run_evaluation
from dsct.predict import SHIPPED_WEIGHTS


@told_in_one_sentence
def evaluate(
    dataset: Annotated[DatasetName, typer.Argument(help="What to evaluate on.")],
    weights: Annotated[Path, typer.Option(help="Weights; by default those that come with dsct.")] = SHIPPED_WEIGHTS,
    split: Annotated[Split, typer.Option(help="Part of the data set.")] = Split.test,
    size: Annotated[int, typer.Option(help="Images.")] = 500,
    image_size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    nms_iou: Annotated[float, typer.Option(help="Overlap from which the paper protocol drops a duplicate.")] = 0.5,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 8,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Keep drawn images here.")] = None,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda; auto takes a GPU if there is one.")] = "auto",
) -> None:
    """Evaluate weights under the three protocols: official, paper and detection."""
    chosen = choose_device(device)
    model = dsct.load_model(weights, chosen)
    options = {"multi_label": model.config.multi_label, "image_size": parse_size(image_size), "difficulty": difficulty}
    sides = getattr(model, "preprocess", None) or {}
    data = synthetic_scenes(split.value, size, options, evaluation_transform(**sides), cache_dir)
    if tuple(data.class_names) != tuple(model.config.names):
        raise ValueError(
            f"{weights} was trained for the classes {list(model.config.names)}, {dataset.value} has "
            f"{list(data.class_names)}"
        )
    labels = f"{dataset.value} {split.value}, {image_size}, difficulty {difficulty}"
    evaluator = Evaluator(model.config.names, model.config.multi_label, nms_iou=nms_iou, labels=labels)
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("evaluating", total=size)
        evaluation = run_evaluation(
            model,
            data,
            dsct.PostProcess(model.config),
            evaluator,
            batch_size=batch_size,
            device=chosen,
            on_batch=lambda outputs, batch: progress.advance(task, len(batch.images)),
        )
    show(evaluation, console)
    if json_path is not None:
        json_path.write_text(json.dumps(_as_json(evaluation), indent=2) + "\n", encoding="utf-8")


def show(evaluation: Evaluation, console: Console) -> None:
    """Prints the headline values by protocol, the classes, and the confusion matrix where there is one."""
    console.print(f"{evaluation.num_people} people in {evaluation.num_images} images, labels: {evaluation.labels}")
    results = list(evaluation.protocols.values())
    buckets = list(results[0].by_subjects)
    by_people = Table(title="by people in the image")
    by_people.add_column("", no_wrap=True)
    for heading in ("all", *buckets):
        by_people.add_column(heading, justify="right")
    for result in results:
        values = (result.value, *result.by_subjects.values())
        by_people.add_row(f"{result.protocol} {result.metric}", *(_percent(value) for value in values))
    recalls = (evaluation.box_recall, *evaluation.box_recall_by_subjects.values())
    by_people.add_row("box recall, IoU 0.5", *(_percent(value) for value in recalls))
    console.print(by_people)

    by_class = Table(
        "class", "people", *(f"{result.protocol} {_class_metric(result)}" for result in results), title="by class"
    )
    for index, name in enumerate(results[0].class_names):
        by_class.add_row(name, str(results[0].support[index]), *(_percent(r.per_class[index]) for r in results))
    console.print(by_class)

    official = evaluation["official"]
    if official.confusion is not None:
        confusion = Table("true \\ predicted", *official.class_names, title="confusion matrix, official protocol")
        for name, row in zip(official.class_names, official.confusion, strict=True):
            confusion.add_row(name, *(str(count) for count in row))
        console.print(confusion)


def _class_metric(result: ProtocolResult) -> str:
    return "AP" if result.metric == "mAP" else result.metric


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2%}"


def _as_json(evaluation: Evaluation) -> dict[str, object]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    protocols = {
        name: {
            result.metric: number(result.value),
            "mAP": number(result.mean_average_precision),
            "per_class": {label: number(v) for label, v in zip(result.class_names, result.per_class, strict=True)},
            "by_subjects": {bucket: number(value) for bucket, value in result.by_subjects.items()},
            "confusion": None if result.confusion is None else result.confusion.tolist(),
        }
        for name, result in evaluation.protocols.items()
    }
    return {
        "labels": evaluation.labels,
        "images": evaluation.num_images,
        "people": evaluation.num_people,
        "box_recall": number(evaluation.box_recall),
        "protocols": protocols,
    }
