"""``dsct train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import dsct
from dsct.cli.datasets import (
    AnnotationsOption,
    DataOption,
    DatasetName,
    Description,
    LabelsOption,
    MultiLabelOption,
    describe_folder,
    describe_scenes,
    model_fields,
    open_data,
    told,
)
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import told_in_one_sentence
from dsct.cli.settings import SET_HELP, Preset, parse_settings
from dsct.config import DSCTConfig
from dsct.train import Processes, TrainConfig, Trainer, TrainResult, seed_everything

PRESETS = {
    DatasetName.synthetic: Preset.tiny,
    DatasetName.emotic: Preset.paper_emotic,
    DatasetName.caer_s: Preset.paper_caer_s,
    DatasetName.coco: Preset.paper_emotic,
}


@told_in_one_sentence
def train(
    dataset: Annotated[DatasetName, typer.Argument(help="What to train on.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/DATASET.")] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Model and recipe; by default the paper's, or tiny for synthetic.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    weights: Annotated[Path | None, typer.Option(help="Start from what fits of these weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir.")] = False,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Under torchrun: shard the model over the processes (FSDP2).")
    ] = False,
    device: DeviceOption = "auto",
    size: Annotated[int, typer.Option(help="Synthetic: training images.")] = 3000,
    val_size: Annotated[int, typer.Option(help="Synthetic: validation images.")] = 300,
    image_size: Annotated[str, typer.Option(help="Synthetic: WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="Synthetic: 0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    cache_dir: Annotated[Path | None, typer.Option(help="Synthetic: keep drawn images here.")] = None,
) -> None:
    """Train a model; the best epoch on validation data is kept as best.safetensors.

    Ctrl-C stops after the step under way; --resume goes on exactly there, with the data and settings it began with.
    Several GPUs: torchrun --nproc-per-node=4 -m dsct train ...
    """
    run_dir = run_dir or Path("runs") / dataset.value
    changes = parse_settings(settings or [])
    if resume:
        if changes[0] or weights is not None:
            raise ValueError(
                "--resume goes on with the model of the run: leave --weights and model fields of --set out"
            )
        model_config, config, about = _read_run(run_dir, changes[1])
    else:
        if dataset is DatasetName.synthetic:
            about = describe_scenes({"train": size, "val": val_size}, image_size, difficulty, multi_label)
        else:
            about = describe_folder(dataset, data, annotations, labels, multi_label)
        model_config, config = _configurations(preset or PRESETS[dataset], about, changes)
    with Processes.from_environment(choose_device(device)) as processes:
        result = _fit(model_config, config, about, run_dir, weights, resume, processes, fsdp, cache_dir)
        if processes.is_main:
            _report(result)


def _configurations(
    preset: Preset, about: Description, changes: tuple[dict[str, Any], dict[str, Any]]
) -> tuple[DSCTConfig, TrainConfig]:
    decided = model_fields(open_data(about, "train", None))
    model_config = getattr(DSCTConfig, preset.value)(**{**decided, **changes[0]})
    return model_config, getattr(TrainConfig, preset.value)(**changes[1])


def _fit(
    model_config: DSCTConfig,
    config: TrainConfig,
    about: Description,
    run_dir: Path,
    weights: Path | None,
    resume: bool,
    processes: Processes,
    fsdp: bool,
    cache_dir: Path | None,
) -> TrainResult:
    seed_everything(config.seed)
    model = dsct.DSCT(model_config)
    model.preprocess = _preprocess(config, about)
    if weights is not None:
        dsct.load_pretrained(model, weights, verbose=processes.is_main)
    train_data = open_data(about, "train", config.training_transform(), cache_dir)
    val_data = open_data(about, "val", config.evaluation_transform(), cache_dir)
    if processes.is_main and about["name"] != DatasetName.synthetic.value:
        typer.echo(f"{told(train_data)}\n{told(val_data)}")
        if weights is None and not resume:
            typer.echo(
                "starting from random weights; the paper starts from a Deformable DETR trained on COCO: --weights"
            )
    trainer = Trainer(
        model,
        dsct.SetCriterion(model_config),
        dsct.PostProcess(model_config),
        train_data,
        val_data,
        config,
        run_dir,
        description=about,
        processes=processes,
        fsdp=fsdp,
        visible=processes.is_main,
    )
    return trainer.fit(resume=resume)


def _preprocess(config: TrainConfig, about: Description) -> dict[str, Any]:
    """What prediction must do to a picture; for scenes drawn at one size, resize it to that."""
    sides = dict(config.preprocess)
    if sides["short_side"] is None and about["name"] == DatasetName.synthetic.value:
        sides["short_side"] = about["options"]["image_size"][1]
    return sides


def _report(result: TrainResult) -> None:
    if result.best is not None:
        typer.echo(f"best epoch {result.best_epoch}: {result.best:.2%} on validation data")
    typer.echo(f"weights: {result.run_dir / 'best.safetensors'}   log: {result.run_dir / 'log.csv'}")


def _read_run(run_dir: Path, train_changes: dict[str, Any]) -> tuple[DSCTConfig, TrainConfig, Description]:
    path = run_dir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no run to resume in {run_dir}: {path} does not exist")
    about = json.loads(path.read_text(encoding="utf-8"))
    return (
        DSCTConfig.from_json(json.dumps(about["model"])),
        TrainConfig(**{**about["train"], **train_changes}),
        about["data"],
    )
