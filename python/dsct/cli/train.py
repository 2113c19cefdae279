"""``dsct train``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

import dsct
from dsct.cli.datasets import Data, Description, describe, describe_folder, describe_scenes, model_fields, opener
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.cli.options import (
    AllowPartialOption,
    AnnotationsOption,
    DataOption,
    DatasetName,
    LabelsOption,
    MultiLabelOption,
    ValFractionOption,
)
from dsct.cli.settings import SET_HELP, Preset, Settings, parse_settings
from dsct.cli.training.config_file import ConfigFile, read_config_file
from dsct.cli.training.field_help import fields_help
from dsct.cli.training.resumed import require_fitting_options, require_sound_source, resumed_data, resumed_model
from dsct.config import DSCTConfig
from dsct.output_streams import standard_streams
from dsct.train import Callback, Processes, TrainConfig, Trainer, TrainResult, class_weights, seed_everything
from dsct.train.loggers import named_loggers
from dsct.train.run_config import NAME, read_run
from dsct.train.run_folder.contents import LAST, is_hardly_begun

PRESETS = {
    DatasetName.synthetic: Preset.tiny,
    DatasetName.emotic: Preset.paper_emotic,
    DatasetName.caer_s: Preset.paper_caer_s,
    DatasetName.coco: Preset.paper_emotic,
}


@dataclass(frozen=True)
class Run:
    """A run that begins or goes on.

    Attributes:
        folder: of the run.
        about: its data.
        recipe: how it trains.
        model: the configuration of its model, given its training data.
        started_with: what else decided how it began, for ``config.json``.
        resume: whether it goes on.
        loggers: beside its own files; None for the default.
    """

    folder: Path
    about: Description
    recipe: TrainConfig
    model: Callable[[Data], DSCTConfig]
    started_with: dict[str, Any]
    resume: bool
    loggers: Sequence[Callback] | None


@dataclass(frozen=True)
class OpenedData:
    """Both splits."""

    train: Data
    val: Data


def train(
    context: typer.Context,
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
    config: Annotated[
        Path | None,
        typer.Option(help="JSON or YAML file of fields, or a run's config.json; options and --set override it."),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    weights: Annotated[Path | None, typer.Option(help="Start from these weights, where they fit the model.")] = None,
    allow_partial: AllowPartialOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in --run-dir; --data may say where its data are now, --set epochs=N how long.",
        ),
    ] = False,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Under torchrun: shard the model across the processes (FSDP2).")
    ] = False,
    log_to: Annotated[
        str | None,
        typer.Option(help="Of tensorboard, wandb, mlflow, or none; by default tensorboard where it is installed."),
    ] = None,
    process_timeout: Annotated[
        float, typer.Option(min=1, max=1e7, help="Under torchrun: seconds that a process waits for the others.")
    ] = 1800.0,
    device: DeviceOption = "auto",
    size: Annotated[int, typer.Option(help="Synthetic: number of training images.")] = 3000,
    val_size: Annotated[int, typer.Option(help="Synthetic: number of validation images.")] = 300,
    image_size: Annotated[str, typer.Option(help="Synthetic: WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="Synthetic: 0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    cache_dir: Annotated[Path | None, typer.Option(help="Synthetic: cache generated images here.")] = None,
) -> None:
    """Train a model; the best epoch on validation data is kept as best.safetensors.

    Ctrl-C, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and SIGXCPU stop after the current step, with exit code 130; --resume
    continues exactly there, with the same data and settings.
    Several GPUs: torchrun --nproc-per-node=4 -m dsct train ...
    """
    options = dict(context.params)
    given = {name for name in options if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    limit = timedelta(seconds=process_timeout)
    # What cannot be shown, as to a pipe whose reader is gone, ends no training. Joined first: what is wrong in one
    # process only is then known to all.
    with standard_streams(silent=True), Processes.from_environment(choose_device(device), limit) as processes:
        with processes.fail_together():
            run = _asked_for(options, given)
            opened = _open(run, cache_dir)
        if processes.is_main:
            _announce(opened, run)
        result = _fit(run, opened, processes)
        if processes.is_main:
            _report(result)


# `--help` lists what `--set` may change.
train.__doc__ = f"{inspect.getdoc(train)}\n\n{fields_help()}"
train = one_line_errors(train)


def _asked_for(options: dict[str, Any], given: set[str]) -> Run:
    dataset: DatasetName = options["dataset"]
    require_fitting_options(dataset, given)
    file = ConfigFile(Settings(), None, None) if options["config"] is None else read_config_file(options["config"])
    changes = file.settings.changed_by(parse_settings(options["settings"] or []))
    folder: Path = options["run_dir"] or Path("runs") / dataset.value
    goes_on = options["resume"] and not is_hardly_begun(folder)
    return (_resumed if goes_on else _begun)(options, given, file, changes, folder)


def _begun(options: dict[str, Any], given: set[str], file: ConfigFile, changes: Settings, folder: Path) -> Run:
    """A run that begins."""
    dataset: DatasetName = options["dataset"]
    preset = options["preset"] or (Preset(file.preset) if file.preset else PRESETS[dataset])
    weights: Path | None = options["weights"]
    started_with = {
        "preset": preset.value,
        "weights": None if weights is None else str(weights.resolve()),
        "allow_partial": options["allow_partial"],
        "fsdp": options["fsdp"],
    }

    def model(data: Data) -> DSCTConfig:
        made: DSCTConfig = getattr(DSCTConfig, preset.value)(**{**model_fields(data), **changes.model})
        return made

    recipe = getattr(TrainConfig, preset.value)(**changes.train)
    about = _described(options, given, file)
    return Run(folder, about, recipe, model, started_with, False, _loggers(options))


def _resumed(options: dict[str, Any], given: set[str], file: ConfigFile, changes: Settings, folder: Path) -> Run:
    """A run that goes on."""
    saved = read_run(folder)
    require_sound_source(saved, folder / NAME)
    about = resumed_data(saved, options, given)
    model = resumed_model(saved, changes)
    recipe = TrainConfig(**{**saved["train"], **changes.train})
    return Run(folder, about, recipe, lambda _: model, saved.get("started_with", {}), True, _loggers(options))


def _described(options: dict[str, Any], given: set[str], file: ConfigFile) -> Description:
    """The data: of the options, or else of the run whose configuration is given."""
    dataset: DatasetName = options["dataset"]
    of_data = ("data", "annotations", "labels", "multi_label", "val_fraction", "size", "val_size", "image_size",
               "difficulty")  # fmt: skip
    if file.data is not None and file.data["name"] == dataset.value and not given & set(of_data):
        require_sound_source({"data": file.data}, options["config"])
        return {name: value for name, value in file.data.items() if name not in ("images", "fingerprints")}
    if dataset is DatasetName.synthetic:
        sizes = {"train": options["size"], "val": options["val_size"]}
        return describe_scenes(sizes, options["image_size"], options["difficulty"], options["multi_label"])
    if options["val_fraction"] == 0:
        raise ValueError("--val-fraction must be above 0 for training: validation data choose the best epoch")
    return describe_folder(dataset, *(options[name] for name in of_data[:5]))


def _loggers(options: dict[str, Any]) -> Sequence[Callback] | None:
    names: str | None = options["log_to"]
    if names is None:
        return None
    return named_loggers([] if names.strip() == "none" else [name.strip() for name in names.split(",")])


def _open(run: Run, cache_dir: Path | None) -> OpenedData:
    open_split = opener(run.about, cache_dir)
    train_data = open_split("train", run.recipe.training_transform())
    return OpenedData(train_data, open_split("val", run.recipe.evaluation_transform()))


def _announce(data: OpenedData, run: Run) -> None:
    if run.about["name"] == DatasetName.synthetic.value:
        return
    typer.echo(f"{describe(data.train)}\n{describe(data.val)}")
    if run.started_with.get("weights") is None and not run.resume:
        typer.echo("starting from random weights; the paper starts from a Deformable DETR trained on COCO: --weights")


def _fit(run: Run, data: OpenedData, processes: Processes) -> TrainResult:
    with processes.fail_together():
        model, criterion = _model(run, data.train, processes.is_main)
    trainer = Trainer(
        model,
        criterion,
        dsct.PostProcess(model.config),
        data.train,
        data.val,
        run.recipe,
        run.folder,
        description=run.about,
        started_with=run.started_with,
        callbacks=run.loggers,
        processes=processes,
        fsdp=run.started_with.get("fsdp", False),
        visible=processes.is_main,
    )
    return trainer.fit(resume=run.resume)


def _model(run: Run, data: Data, verbose: bool) -> tuple[dsct.DSCT, dsct.SetCriterion]:
    seed_everything(run.recipe.seed)
    config = run.model(data)
    model = dsct.DSCT(config)
    model.preprocess = _preprocess(run.recipe, run.about)
    weights = None if (run.folder / LAST).is_file() else run.started_with.get("weights")
    if weights is not None:
        partial = run.started_with.get("allow_partial", False)
        dsct.load_pretrained(model, weights, allow_partial=partial, verbose=verbose)
    return model, dsct.SetCriterion(config, class_weights(data, run.recipe.class_weights))


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
