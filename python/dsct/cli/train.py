"""``dsct train``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import dsct
from dsct.cli.datasets import Data, Description, describe, describe_folder, describe_scenes, model_fields, opener
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.cli.options import (
    AnnotationsOption,
    DataOption,
    DatasetName,
    LabelsOption,
    MultiLabelOption,
    ValFractionOption,
)
from dsct.cli.settings import SET_HELP, Preset, parse_settings
from dsct.config import DSCTConfig
from dsct.train import Processes, TrainConfig, Trainer, TrainResult, seed_everything

PRESETS = {
    DatasetName.synthetic: Preset.tiny,
    DatasetName.emotic: Preset.paper_emotic,
    DatasetName.caer_s: Preset.paper_caer_s,
    DatasetName.coco: Preset.paper_emotic,
}


@dataclass(frozen=True)
class Run:
    """The folder of a run, and how it starts."""

    folder: Path
    weights: Path | None
    resume: bool
    fsdp: bool


@dataclass(frozen=True)
class OpenedData:
    """Both splits, and the description of their data set."""

    about: Description
    train: Data
    val: Data


@one_line_errors
def train(
    dataset: Annotated[DatasetName, typer.Argument(help="What to train on.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    val_fraction: ValFractionOption = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/DATASET.")] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Model and recipe; by default the paper's, or tiny for synthetic.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    weights: Annotated[Path | None, typer.Option(help="Start from these weights, where they fit the model.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run-dir.")] = False,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Under torchrun: shard the model across the processes (FSDP2).")
    ] = False,
    device: DeviceOption = "auto",
    size: Annotated[int, typer.Option(help="Synthetic: number of training images.")] = 3000,
    val_size: Annotated[int, typer.Option(help="Synthetic: number of validation images.")] = 300,
    image_size: Annotated[str, typer.Option(help="Synthetic: WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="Synthetic: 0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    cache_dir: Annotated[Path | None, typer.Option(help="Synthetic: cache generated images here.")] = None,
) -> None:
    """Train a model; the best epoch on validation data is kept as best.safetensors.

    Ctrl-C stops after the current step; --resume continues exactly there, with the same data and settings.
    Several GPUs: torchrun --nproc-per-node=4 -m dsct train ...
    """
    run = Run(run_dir or Path("runs") / dataset.value, weights, resume, fsdp)
    changes = parse_settings(settings or [])
    preset = preset or PRESETS[dataset]
    saved: dict[str, Any] = {}
    if resume:
        if changes.model or weights is not None:
            raise ValueError(
                "--resume continues with the model of the run: leave out --weights and model fields of --set"
            )
        saved = _read_run(run.folder)
        about, config = saved["data"], TrainConfig(**{**saved["train"], **changes.train})
    else:
        if dataset is DatasetName.synthetic:
            about = describe_scenes({"train": size, "val": val_size}, image_size, difficulty, multi_label)
        else:
            if val_fraction == 0:
                raise ValueError("--val-fraction must be above 0 for training: validation data choose the best epoch")
            about = describe_folder(dataset, data, annotations, labels, multi_label, val_fraction)
        config = getattr(TrainConfig, preset.value)(**changes.train)
    with Processes.from_environment(choose_device(device)) as processes:
        opened = _open(about, config, cache_dir)
        if processes.is_main:
            _announce(opened, run)
        if resume:
            model_config = DSCTConfig.from_json(json.dumps(saved["model"]))
        else:
            model_config = getattr(DSCTConfig, preset.value)(**{**model_fields(opened.train), **changes.model})
        result = _fit(model_config, config, opened, run, processes)
        if processes.is_main:
            _report(result)


def _open(about: Description, config: TrainConfig, cache_dir: Path | None) -> OpenedData:
    open_split = opener(about, cache_dir)
    train_data = open_split("train", config.training_transform())
    return OpenedData(about, train_data, open_split("val", config.evaluation_transform()))


def _announce(data: OpenedData, run: Run) -> None:
    if data.about["name"] == DatasetName.synthetic.value:
        return
    typer.echo(f"{describe(data.train)}\n{describe(data.val)}")
    if run.weights is None and not run.resume:
        typer.echo("starting from random weights; the paper starts from a Deformable DETR trained on COCO: --weights")


def _fit(
    model_config: DSCTConfig, config: TrainConfig, data: OpenedData, run: Run, processes: Processes
) -> TrainResult:
    seed_everything(config.seed)
    model = dsct.DSCT(model_config)
    model.preprocess = _preprocess(config, data.about)
    if run.weights is not None:
        dsct.load_pretrained(model, run.weights, verbose=processes.is_main)
    trainer = Trainer(
        model,
        dsct.SetCriterion(model_config),
        dsct.PostProcess(model_config),
        data.train,
        data.val,
        config,
        run.folder,
        description=data.about,
        processes=processes,
        fsdp=run.fsdp,
        visible=processes.is_main,
    )
    return trainer.fit(resume=run.resume)


def _preprocess(config: TrainConfig, about: Description) -> dict[str, Any]:
    """How prediction prepares an image; for scenes of one size it resizes to that."""
    sides = dict(config.preprocess)
    if sides["short_side"] is None and about["name"] == DatasetName.synthetic.value:
        sides["short_side"] = about["options"]["image_size"][1]
    return sides


def _report(result: TrainResult) -> None:
    if result.best is not None:
        typer.echo(f"best epoch {result.best_epoch}: {result.best:.2%} on validation data")
    typer.echo(f"weights: {result.run_dir / 'best.safetensors'}   log: {result.run_dir / 'log.csv'}")


def _read_run(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no run to resume in {run_dir}: {path} does not exist")
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return saved
