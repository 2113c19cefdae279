"""``dsct eval``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import dsct
from dsct.cli.datasets import Data, check_val_fraction, describe, describe_folder, describe_scenes, open_data
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.cli.evaluation.facts import facts_of, val_fraction_of_run, weights_file
from dsct.cli.evaluation.numbers import as_json, write_json
from dsct.cli.evaluation.report import write_report
from dsct.cli.evaluation.show import show
from dsct.cli.options import (
    AnnotationsOption,
    DataOption,
    DatasetName,
    LabelsOption,
    Split,
    ValFractionOption,
    split_option,
)
from dsct.cli.progress import progress_bar
from dsct.complete_files import require_writable
from dsct.config import DSCTConfig
from dsct.data import evaluation_transform
from dsct.metrics import Bootstrap, Evaluator, PersonTable, Throughput, collect, require_table_format
from dsct.prediction.shipped_weights import SHIPPED_WEIGHTS
from dsct.visualize import contact_sheet


class ThresholdRule(str, Enum):
    """How thresholds are fitted."""

    break_even = "break-even"
    f1 = "f1"


class OnError(str, Enum):
    """What happens at an image that cannot be read."""

    stop = "stop"
    skip = "skip"


class Protocol(str, Enum):
    """Which prediction counts for a person; as `dsct.metrics.PROTOCOLS`."""

    official = "official"
    paper = "paper"
    detection = "detection"


@one_line_errors
def evaluate(
    dataset: Annotated[DatasetName, typer.Argument(help="What to evaluate on.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    val_fraction: ValFractionOption = None,
    weights: Annotated[
        Path,
        typer.Option(
            help="Weights, or the folder of a run: its best.safetensors.", show_default="those that come with dsct"
        ),
    ] = SHIPPED_WEIGHTS,
    split: Annotated[Split, split_option("Split of the data set.")] = Split.test,
    nms_iou: Annotated[float, typer.Option(help="Overlap above which the paper protocol drops a duplicate.")] = 0.5,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for the intervals; 0: no intervals.")] = 1000,
    fit_thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fit a threshold per class on --split val; write the model with them here."),
    ] = None,
    threshold_rule: Annotated[ThresholdRule, typer.Option(help="Precision = recall, or best F1.")] = (
        ThresholdRule.break_even
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder for JSON, Markdown, figures and the table of all people.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file.")] = None,
    people: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row per person: .csv or, with pyarrow, .parquet.")
    ] = None,
    people_protocol: Annotated[
        Protocol, typer.Option(help="Which prediction counts for a person in that table.")
    ] = Protocol.official,
    batch_size: Annotated[int, typer.Option(help="Most images per forward pass; no score depends on it.")] = 8,
    workers: Annotated[int, typer.Option(help="Processes that load images.")] = 0,
    on_error: Annotated[
        OnError, typer.Option(help="At an image that cannot be read: stop, or skip it, name it and count it.")
    ] = OnError.stop,
    device: DeviceOption = "auto",
    size: Annotated[int, typer.Option(help="Synthetic: number of images.")] = 500,
    image_size: Annotated[str, typer.Option(help="Synthetic: WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="Synthetic: 0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    cache_dir: Annotated[Path | None, typer.Option(help="Synthetic: cache generated images here.")] = None,
) -> None:
    """Evaluate weights under the three protocols: official, paper and detection."""
    if people is not None:
        require_table_format(people)
    for file in (fit_thresholds, json_path, people, out and out / "evaluation.md"):
        if file is not None:
            require_writable(file)
    check_val_fraction(dataset.value, val_fraction)
    weights = weights_file(weights)
    model = dsct.load_model(weights, choose_device(device))
    config = model.config
    if fit_thresholds is not None and (split is not Split.val or not config.multi_label):
        raise ValueError("--fit-thresholds needs --split val and a multi-label model: test data must not choose them")
    _check_kind(config, weights, dataset)
    if dataset is DatasetName.synthetic:
        about = describe_scenes({split.value: size}, image_size, difficulty, config.multi_label)
    else:
        if val_fraction is None:
            val_fraction = val_fraction_of_run(weights, dataset.value)
        about = describe_folder(dataset, data, annotations, labels, config.multi_label, val_fraction)
        about["class_names"] = list(config.names)
    opened = open_data(about, split.value, evaluation_transform(**(model.preprocess or {})), cache_dir)
    _check_classes(opened, config, weights, dataset)
    source = getattr(opened, "source", f"{image_size}, difficulty {difficulty}")
    evaluator = Evaluator(
        config.names, config.multi_label, nms_iou=nms_iou, labels=f"{dataset.value} {split.value}, {source}"
    )
    facts = facts_of(weights, opened, about, evaluator, batch_size, next(model.parameters()).device)
    console = Console()
    for line in (describe(opened), facts["run"]):
        if line is not None:
            console.print(line, highlight=False, markup=False)
    unreadable = facts["data"]["unreadable"] if on_error is OnError.skip else None
    throughput = _run(model, opened, evaluator, batch_size, workers, unreadable, console)
    if unreadable:
        console.print(f"left out: {len(unreadable)} of {len(opened)} images cannot be read: {'; '.join(unreadable)}",
                      highlight=False, markup=False)  # fmt: skip
    if fit_thresholds is not None:
        model.thresholds = evaluator.fit_thresholds(threshold_rule.value).tolist()
        dsct.save_model(model, fit_thresholds)
        console.print(f"thresholds, {threshold_rule.value}, written with the weights to {fit_thresholds}",
                      highlight=False, markup=False)  # fmt: skip
    bootstrap = Bootstrap(resamples) if resamples else None
    evaluation = evaluator.compute(bootstrap, model.thresholds, details=True).with_(throughput=throughput)
    show(evaluation, console)
    if json_path is not None:
        write_json(as_json(evaluation, facts), json_path)
    if people is not None:
        _write_people(evaluator.person_table(model.thresholds, people_protocol.value), people, console)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write_people(evaluator.person_table(model.thresholds, people_protocol.value), out / "people.csv", console)
        worst = [int(one.image_id) for one in evaluation.details.worst_images] if evaluation.details else []
        drawn = {"examples": range(len(opened)), "worst_images": worst}
        pages = [name for name, images in drawn.items() if _draw_page(model, opened, images, out / f"{name}.png")]
        write_report(evaluation, facts, out, pages)
        console.print(f"report: {out / 'evaluation.md'}", highlight=False, markup=False)


def _check_kind(config: DSCTConfig, weights: Path, dataset: DatasetName) -> None:
    """One class per person or several: what a data set has that cannot be opened as either."""
    several = {DatasetName.emotic: True, DatasetName.caer_s: False}.get(dataset, config.multi_label)
    if several != config.multi_label:
        kinds = {True: "several classes per person", False: "one class per person"}
        raise ValueError(f"{weights} is a model of {kinds[config.multi_label]}, {dataset.value} has {kinds[several]}")


def _check_classes(data: Data, config: DSCTConfig, weights: Path, dataset: DatasetName) -> None:
    """Labels must be numbered as the model numbers its classes."""
    unknown = [name for name in data.class_names if name not in config.names]
    if unknown:
        raise ValueError(f"{weights} does not know {', '.join(unknown)} of {dataset.value}, only "
                         f"{', '.join(config.names)}")  # fmt: skip
    if tuple(data.class_names) != tuple(config.names):
        raise ValueError(f"{weights} has its classes in the order {', '.join(config.names)}, {dataset.value} in the "
                         f"order {', '.join(data.class_names)}")  # fmt: skip


def _run(
    model: dsct.DSCT,
    data: Data,
    evaluator: Evaluator,
    batch_size: int,
    workers: int,
    unreadable: list[str] | None,
    console: Console,
) -> Throughput:
    """Fills the evaluator; images that cannot be read are added to `unreadable`, unless that is None."""
    with progress_bar(console) as progress:
        task = progress.add_task("evaluating", total=len(data))
        return collect(
            model, data, dsct.PostProcess(model.config), evaluator, batch_size=batch_size, workers=workers,
            device=next(model.parameters()).device,
            on_batch=lambda _outputs, batch: progress.advance(task, len(batch.images)),
            on_error=None if unreadable is None else lambda _index, why: unreadable.append(why),
        )  # fmt: skip


def _write_people(table: PersonTable, path: Path, console: Console) -> None:
    table.write(path)
    console.print(f"{len(table)} people, {table.protocol} protocol: {path}", highlight=False, markup=False)


def _draw_page(model: dsct.DSCT, data: Any, images: Sequence[int], path: Path, count: int = 9) -> bool:
    """A page of the first images with people, predictions compared with the truth; False if there are none."""
    data.transforms = None
    chosen = list(islice((index for index in images if len(data.annotations(index))), count))
    items = []
    for index in chosen:
        try:
            image = data[index][0]
        except (OSError, ValueError):
            continue  # the evaluation has left it out and said so, or has stopped
        items.append((image, dsct.predict(image, model), data.annotations(index)))
    if items:
        contact_sheet(items, path)
    return bool(items)
