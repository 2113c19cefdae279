"""``dsct convert``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import dsct
from dsct.checkpoint import Checkpoint, LoadReport, read_checkpoint, save_released, sizes_of_checkpoint
from dsct.checkpoint.fit import other_architecture
from dsct.checkpoint.layouts import incoming_tensors, recognise
from dsct.cli.errors import one_line_errors
from dsct.cli.options import AllowPartialOption
from dsct.cli.settings import SET_HELP, Preset, parse_settings
from dsct.complete_files import require_writable
from dsct.config import DSCTConfig
from dsct.json_text import parse_json, parse_json_object
from dsct.train import seed_everything

#: Fields that define the classes.
CLASSES = {"num_classes", "class_names", "multi_label", "person_class"}


@one_line_errors
def convert(
    source: Annotated[Path, typer.Argument(help="A weights file, last.pt of a run, or a Hugging Face folder.")],
    destination: Annotated[Path, typer.Argument(help="The .safetensors file to write, or .pth for the released code.")],
    preset: Annotated[Preset | None, typer.Option(help="The model these weights are for.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    seed: Annotated[int, typer.Option(help="Seed for what the file does not contain.")] = 0,
    allow_partial: AllowPartialOption = False,
) -> None:
    """Convert weights of other programs to a dsct safetensors file, or to a .pth file that the released code reads.

    Sizes are read from the tensors. What the file does not contain, such as the subject queries in a
    Deformable DETR checkpoint, keeps its initial values and is listed in the report. Files of another architecture or
    backbone, or of other classes, are refused without --allow-partial.
    """
    given = parse_settings(settings or [])
    if given.train:
        raise ValueError(f"--set takes fields of the model here, got {', '.join(given.train)}")
    changes = given.model
    if destination.suffix not in (".safetensors", ".pth"):
        raise ValueError(f"the destination must end in .safetensors or .pth, got {destination}")
    require_writable(destination)
    checkpoint = read_checkpoint(source)
    own = _without_other_architecture(checkpoint, source, allow_partial)
    if checkpoint.config is not None and preset is None and not changes:
        model = dsct.load_model(source)
    else:
        config = _config_for(own, preset, changes)
        seed_everything(seed)
        model = dsct.DSCT(config)
        if "dsct_preprocess" in checkpoint.metadata:
            model.preprocess = parse_json_object(checkpoint.metadata["dsct_preprocess"], f"{source}: dsct_preprocess")
        if "dsct_thresholds" in checkpoint.metadata and _same_classes(checkpoint.config, config):
            model.thresholds = parse_json(checkpoint.metadata["dsct_thresholds"], f"{source}: dsct_thresholds")
    report = dsct.load_pretrained(model, source, allow_partial=allow_partial)
    if not allow_partial and CLASSES.isdisjoint(changes):
        _require_class_head(report, checkpoint, model.config)
    if destination.suffix == ".pth":
        save_released(model, destination)
    else:
        dsct.save_model(model, destination)
    typer.echo(f"wrote {destination}")


def _without_other_architecture(checkpoint: Checkpoint, source: Path, allow_partial: bool) -> Checkpoint:
    """What of a file may be loaded into a DSCT, by its names there."""
    layout = recognise(checkpoint.tensors, source)
    incoming = incoming_tensors(checkpoint.tensors, layout)
    unfit = other_architecture(layout, incoming, source, allow_partial)
    tensors = {name: one.tensor for name, one in incoming.items() if name not in unfit}
    return Checkpoint(tensors, checkpoint.metadata)


def _require_class_head(report: LoadReport, checkpoint: Checkpoint, config: DSCTConfig) -> None:
    """Refuses a preset that would leave the class head random although the file has one: it has other classes."""
    head = "class_embed_dsct.0.weight"
    incomplete = head in report.missing or "left as they were" in report.rows_copied.get(head, "")
    if head not in checkpoint.tensors or not incomplete:
        return
    known = checkpoint.config
    theirs = f"{len(checkpoint.tensors[head])} logits" if known is None else f"the classes {_listed(known)}"
    raise ValueError(
        f"the file has {theirs}, this model {_listed(config)}: its class head would begin at random. Leave out "
        "--preset to keep the file's classes, or confirm with --allow-partial"
    )


def _listed(config: DSCTConfig) -> str:
    """The classes of a model, in a sentence."""
    first = ", ".join(config.names[:3])
    return f"{first}, … ({config.num_classes})" if config.num_classes > 3 else first


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
