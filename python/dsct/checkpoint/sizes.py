"""Fields of a configuration that can be read from the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from dsct.checkpoint.files import HUGGING_FACE_KEY, OPTIONS, OPTIONS_KEY, Checkpoint
from dsct.checkpoint.hugging_face import sizes_of_config
from dsct.checkpoint.namings import naming_of, under_original_names
from dsct.json_text import parse_json_object

#: (blocks per stage, channels of the stem, convolutions per block, channels inside the first block) of every backbone.
BACKBONES: dict[tuple[tuple[int, ...], int, int, int], str] = {
    ((1, 1, 1, 1), 16, 2, 16): "tiny",
    ((2, 2, 2, 2), 64, 2, 64): "resnet18",
    ((3, 4, 6, 3), 64, 2, 64): "resnet34",
    ((3, 4, 6, 3), 64, 3, 64): "resnet50",
    ((3, 4, 23, 3), 64, 3, 64): "resnet101",
    ((3, 8, 36, 3), 64, 3, 64): "resnet152",
    ((3, 4, 6, 3), 64, 3, 128): "wide_resnet50_2",
    ((3, 4, 23, 3), 64, 3, 128): "wide_resnet101_2",
}


def sizes_of_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """:func:`sizes_of` its tensors, and :func:`sizes_beside` them.

    Example:
        >>> import dsct
        >>> sizes = sizes_of_checkpoint(Checkpoint(dict(dsct.DSCT(dsct.DSCTConfig.tiny()).state_dict()), {}))
        >>> sizes["hidden_dim"]
        64
    """
    return sizes_of(checkpoint.tensors) | sizes_beside(checkpoint)


def sizes_beside(checkpoint: Checkpoint) -> dict[str, Any]:
    """The fields in a Hugging Face ``config.json`` or in the ``args`` of a released checkpoint."""
    if HUGGING_FACE_KEY in checkpoint.metadata:
        return sizes_of_config(checkpoint.metadata[HUGGING_FACE_KEY])
    numbers = parse_json_object(checkpoint.metadata.get(OPTIONS_KEY, "{}"), OPTIONS_KEY)
    return {name: value for name, value in numbers.items() if name in OPTIONS and type(value) is int}


def sizes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The fields of the configuration that shapes and names of DSCT or Deformable DETR tensors determine.

    Args:
        tensors: a state dict, also of Hugging Face, detrex or mmdetection; what is absent gives no field.

    Example:
        >>> import torch
        >>> sizes_of({"query_embed.weight": torch.ones(300, 512), "transformer.level_embed": torch.ones(4, 256)})
        {'num_feature_levels': 4, 'hidden_dim': 256, 'num_context_queries': 300}
    """
    tensors = {name: incoming.tensor for name, incoming in under_original_names(tensors, naming_of(tensors)).items()}
    matrices = {name: tensor for name, tensor in tensors.items() if tensor.ndim == 2}
    sizes: dict[str, Any] = {}
    if (level_embed := matrices.get("transformer.level_embed")) is not None:
        sizes["num_feature_levels"], sizes["hidden_dim"] = level_embed.shape
    for field, name in (
        ("num_context_queries", "query_embed.weight"),
        ("num_subject_queries", "query_embed_dsct.weight"),
        ("dim_feedforward", "transformer.encoder.layers.0.linear1.weight"),
    ):
        if name in matrices:
            sizes[field] = len(matrices[name])
    for field, part in (("enc_layers", "encoder"), ("dec_layers", "decoder")):
        layers = _numbers(tensors, rf"transformer\.{part}\.layers\.(\d+)\.")
        if layers:
            sizes[field] = layers
    if (backbone := backbone_of(tensors)) is not None:
        sizes["backbone"] = backbone
    return sizes


def backbone_of(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The backbone that tensors under their names in the model belong to; None if none is known or it is incomplete.

    Example:
        >>> import dsct
        >>> backbone_of(dsct.DSCT(dsct.DSCTConfig.tiny()).state_dict())
        'tiny'
    """
    body = r"backbone\.0\.body\."
    stem, first, second = (
        tensors.get(f"backbone.0.body.{name}.weight") for name in ("conv1", "layer1.0.conv1", "layer1.0.conv2")
    )
    if stem is None or first is None or second is None or any(one.ndim != 4 for one in (stem, first, second)):
        return None
    if second.shape[1] != len(first):
        return None  # ResNeXt: its convolutions have groups
    blocks = tuple(_numbers(tensors, rf"{body}layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    convolutions = _numbers(tensors, rf"{body}layer1\.0\.conv(\d)\.")
    return BACKBONES.get((blocks, len(stem), convolutions, len(first)))


def _numbers(tensors: Mapping[str, torch.Tensor], pattern: str) -> int:
    """The number of different numbers in the names."""
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})
