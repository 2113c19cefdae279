"""``dsct convert``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

import dsct
from dsct.checkpoint.files import StateDict, read_checkpoint
from dsct.cli.errors import told_in_one_sentence
from dsct.cli.settings import SET_HELP, Preset, parse_settings
from dsct.config import DSCTConfig
from dsct.train import seed_everything


@told_in_one_sentence
def convert(
    source: Annotated[Path, typer.Argument(help="A .pth or .safetensors file, or last.pt of a run.")],
    destination: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    preset: Annotated[Preset | None, typer.Option(help="The model these weights are for.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    seed: Annotated[int, typer.Option(help="Seed of what the file does not hold.")] = 0,
) -> None:
    """Convert weights of other programs to dsct's safetensors file, configuration included.

    Sizes are read from the tensors. What the file does not hold, such as the subject queries in a Deformable DETR
    checkpoint, keeps its initial values: the report says so.
    """
    changes, train_changes = parse_settings(settings or [])
    if train_changes:
        raise ValueError(f"--set takes fields of the model here, got {', '.join(train_changes)}")
    if destination.suffix != ".safetensors":
        raise ValueError(f"the destination must end in .safetensors, got {destination}")
    checkpoint = read_checkpoint(source)
    if checkpoint.config is not None and preset is None and not changes:
        model = dsct.load_model(source)
    else:
        if preset is None:
            preset = _preset_of(checkpoint.tensors)
        config = getattr(DSCTConfig, preset.value)(**{**sizes_of(checkpoint.tensors), **changes})
        seed_everything(seed)
        model = dsct.DSCT(config)
        dsct.load_pretrained(model, source)
    dsct.save_model(model, destination)
    typer.echo(f"wrote {destination}")


def sizes_of(tensors: StateDict) -> dict[str, Any]:
    """The fields of the configuration that shapes and names of DSCT or Deformable DETR tensors tell.

    Args:
        tensors: a state dict; whatever is absent is left out of the result.
    """
    sizes: dict[str, Any] = {}
    if (level_embed := tensors.get("transformer.level_embed")) is not None:
        sizes["num_feature_levels"], sizes["hidden_dim"] = level_embed.shape
    for field, name in (("num_context_queries", "query_embed"), ("num_subject_queries", "query_embed_dsct")):
        if f"{name}.weight" in tensors:
            sizes[field] = len(tensors[f"{name}.weight"])
    if (linear := tensors.get("transformer.encoder.layers.0.linear1.weight")) is not None:
        sizes["dim_feedforward"] = len(linear)
    for field, part in (("enc_layers", "encoder"), ("dec_layers", "decoder")):
        found = (re.match(rf"transformer\.{part}\.layers\.(\d+)\.", name) for name in tensors)
        layers = [int(match[1]) + 1 for match in found if match]
        if layers:
            sizes[field] = max(layers)
    return sizes


def _preset_of(tensors: StateDict) -> Preset:
    """Which of the published models this is, by its number of class logits."""
    head = tensors.get("class_embed_dsct.0.weight")
    presets = {27: Preset.official_emotic, 8: Preset.official_caer_s, 26: Preset.paper_emotic, 7: Preset.paper_caer_s}
    if head is None or len(head) not in presets:
        found = "none" if head is None else f"{len(head)} logits"
        raise ValueError(f"--preset is needed: a DSCT class head of 27, 26, 8 or 7 logits would tell it, found {found}")
    return presets[len(head)]
