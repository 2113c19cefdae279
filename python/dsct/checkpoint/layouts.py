"""The program that wrote a state dict, and the names of its tensors in the model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from dsct.checkpoint.hugging_face import Incoming, is_hugging_face, original_tensors
from dsct.checkpoint.report import summary
from dsct.checkpoint.tensor_files import StateDict

DSCT = "DSCT"
DEFORMABLE_DETR = "Deformable DETR"
HUGGING_FACE = "Hugging Face Deformable DETR"
RESNET = "torchvision ResNet"


def recognise(tensors: Mapping[str, torch.Tensor], source: object) -> str:
    """The layout of a state dict.

    Args:
        tensors: by name.
        source: named in the error.

    Raises:
        ValueError: the layout is unknown.

    Example:
        >>> import torch
        >>> recognise({"transformer.level_embed": torch.ones(4, 8)}, "file.pth")
        'Deformable DETR'
    """
    if any(name.startswith(("query_embed_dsct.", "class_embed_dsct.")) for name in tensors):
        return DSCT
    if "transformer.level_embed" in tensors:
        return DEFORMABLE_DETR
    if is_hugging_face(tensors):
        return HUGGING_FACE
    if "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors:
        return RESNET
    raise ValueError(
        f"{source} must hold a state dict of DSCT, Deformable DETR (also Hugging Face's) or a torchvision ResNet, "
        f"got {summary(list(tensors)) or 'no tensors'}"
    )


def incoming_tensors(tensors: StateDict, layout: str, reuse_box_head: bool = False) -> dict[str, Incoming]:
    """The tensors of a file by their names in the model, or by a name that no model has.

    Args:
        tensors: by name in the file.
        layout: from :func:`recognise`.
        reuse_box_head: give the box head of a Deformable DETR the name of the model's.

    Returns:
        Tensors by name, each with its names in the file.
    """
    if layout == HUGGING_FACE:
        incoming = original_tensors(tensors)
    else:
        incoming = {name: Incoming((name,), tensor) for name, tensor in tensors.items()}
    if layout == RESNET:
        return {f"backbone.0.body.{name}": tensor for name, tensor in incoming.items()}
    if layout != DSCT and reuse_box_head:
        return {re.sub(r"^bbox_embed\.", "bbox_embed_dsct.", name): tensor for name, tensor in incoming.items()}
    return incoming
