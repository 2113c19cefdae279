"""``dsct convert``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import dsct
from dsct.checkpoint import Checkpoint, read_checkpoint, save_released, sizes_of_checkpoint
from dsct.cli.errors import one_line_errors
from dsct.cli.settings import SET_HELP, Preset, parse_settings
from dsct.config import DSCTConfig
from dsct.train import seed_everything


@one_line_errors
def convert(
    source: Annotated[Path, typer.Argument(help="A weights file, last.pt of a run, or a Hugging Face folder.")],
    destination: Annotated[Path, typer.Argument(help="The .safetensors file to write, or .pth for the released code.")],
    preset: Annotated[Preset | None, typer.Option(help="The model these weights are for.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    seed: Annotated[int, typer.Option(help="Seed for what the file does not contain.")] = 0,
) -> None:
    """Convert weights of other programs to a dsct safetensors file, or to a .pth file that the released code reads.

    Sizes are read from the tensors. What the file does not contain, such as the subject queries in a
    Deformable DETR checkpoint, keeps its initial values and is listed in the report.
    """
    given = parse_settings(settings or [])
    if given.train:
        raise ValueError(f"--set takes fields of the model here, got {', '.join(given.train)}")
    changes = given.model
    if destination.suffix not in (".safetensors", ".pth"):
        raise ValueError(f"the destination must end in .safetensors or .pth, got {destination}")
    checkpoint = read_checkpoint(source)
    if checkpoint.config is not None and preset is None and not changes:
        model = dsct.load_model(source)
    else:
        config = _config_for(checkpoint, preset, changes)
        seed_everything(seed)
        model = dsct.DSCT(config)
        if "dsct_preprocess" in checkpoint.metadata:
            model.preprocess = json.loads(checkpoint.metadata["dsct_preprocess"])
        if "dsct_thresholds" in checkpoint.metadata and _same_classes(checkpoint.config, config):
            model.thresholds = json.loads(checkpoint.metadata["dsct_thresholds"])
    dsct.load_pretrained(model, source)
    if destination.suffix == ".pth":
        save_released(model, destination)
    else:
        dsct.save_model(model, destination)
    typer.echo(f"wrote {destination}")


def _config_for(checkpoint: Checkpoint, preset: Preset | None, changes: dict[str, Any]) -> DSCTConfig:
    """The file's own configuration, or else a preset with the sizes of the tensors, with the user's changes."""
    if checkpoint.config is not None and preset is None:
        if not {"num_classes", "multi_label"}.isdisjoint(changes):
            changes = {"class_names": None, **changes}
        return dataclasses.replace(checkpoint.config, **changes)
    if preset is None:
        preset = _preset_of(checkpoint.tensors)
    config: DSCTConfig = getattr(DSCTConfig, preset.value)(**{**sizes_of_checkpoint(checkpoint), **changes})
    return config


def _same_classes(first: DSCTConfig | None, second: DSCTConfig) -> bool:
    return first is not None and (first.names, first.multi_label) == (second.names, second.multi_label)


def _preset_of(tensors: Mapping[str, torch.Tensor]) -> Preset:
    """Which of the published models this is, by its number of class logits."""
    head = tensors.get("class_embed_dsct.0.weight")
    presets = {27: Preset.official_emotic, 8: Preset.official_caer_s, 26: Preset.paper_emotic, 7: Preset.paper_caer_s}
    if head is None or len(head) not in presets:
        found = "none" if head is None else f"{len(head)} logits"
        raise ValueError(f"--preset is needed: a DSCT class head of 27, 26, 8 or 7 logits would tell it, found {found}")
    return presets[len(head)]
