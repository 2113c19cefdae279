"""``dsct train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import dsct
from dsct.cli.errors import told_in_one_sentence
from dsct.cli.settings import SET_HELP, Preset, parse_settings
from dsct.cli.synthetic import DatasetName, parse_size, synthetic_scenes
from dsct.config import DSCTConfig
from dsct.data import evaluation_transform, flip_transform
from dsct.data.transforms import LONG_SIDE
from dsct.train import TrainConfig, Trainer, seed_everything


@told_in_one_sentence
def train(
    dataset: Annotated[DatasetName, typer.Argument(help="What to train on.")],
    run_dir: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/synthetic"),
    preset: Annotated[Preset, typer.Option(help="Model and recipe to start from.")] = Preset.tiny,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    weights: Annotated[Path | None, typer.Option(help="Start from what fits of these weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir.")] = False,
    size: Annotated[int, typer.Option(help="Training images.")] = 3000,
    val_size: Annotated[int, typer.Option(help="Validation images.")] = 300,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="26 labels instead of 7 classes.")] = False,
    image_size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the images in pixels.")] = "128x96",
    difficulty: Annotated[float, typer.Option(help="0 (clear cues) to 1 (small and pale cues).")] = 0.3,
    cache_dir: Annotated[Path | None, typer.Option(help="Keep drawn images here.")] = None,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda; auto takes a GPU if there is one.")] = "auto",
) -> None:
    """Train a model; the best epoch on validation data is kept as best.safetensors.

    Ctrl-C stops after the step under way; --resume goes on exactly there, with the data and settings it began with.
    """
    model_changes, train_changes = parse_settings(settings or [])
    if resume:
        if model_changes or weights is not None:
            raise ValueError(
                "--resume goes on with the model of the run: leave --weights and model fields of --set out"
            )
        model_config, config, data = _read_run(run_dir, train_changes)
    else:
        scenes = {"multi_label": multi_label, "image_size": parse_size(image_size), "difficulty": difficulty}
        data = {"name": dataset.value, "size": size, "val_size": val_size, "options": scenes}
        labels = {"multi_label": multi_label, "num_classes": 26 if multi_label else 7}
        model_config = getattr(DSCTConfig, preset.value)(**{**labels, **model_changes})
        config = getattr(TrainConfig, preset.value)(**train_changes)

    seed_everything(config.seed)
    model = dsct.DSCT(model_config)
    short_side = data["options"]["image_size"][1]
    model.preprocess = {"short_side": short_side, "long_side": LONG_SIDE}
    if weights is not None:
        dsct.load_pretrained(model, weights)
    trainer = Trainer(
        model,
        dsct.SetCriterion(model_config),
        dsct.PostProcess(model_config),
        synthetic_scenes("train", data["size"], data["options"], flip_transform(), cache_dir),
        synthetic_scenes("val", data["val_size"], data["options"], evaluation_transform(None), cache_dir),
        config,
        run_dir,
        device=choose_device(device),
        description=data,
    )
    result = trainer.fit(resume=resume)
    if result.best is not None:
        typer.echo(f"best epoch {result.best_epoch}: {result.best:.2%} on validation data")
    typer.echo(f"weights: {run_dir / 'best.safetensors'}   log: {run_dir / 'log.csv'}")


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the GPU if there is one.

    Raises:
        ValueError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device must be a device of this machine, got {name!r}: {error}") from error
    return device


def _read_run(run_dir: Path, train_changes: dict[str, Any]) -> tuple[DSCTConfig, TrainConfig, dict[str, Any]]:
    path = run_dir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no run to resume in {run_dir}: {path} does not exist")
    about = json.loads(path.read_text(encoding="utf-8"))
    return (
        DSCTConfig.from_json(json.dumps(about["model"])),
        TrainConfig(**{**about["train"], **train_changes}),
        about["data"],
    )
