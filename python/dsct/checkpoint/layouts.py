"""What a state dict is, and the names of its tensors in the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch

from dsct.checkpoint.architectures import DEFORMABLE_DETR, architecture_of, foreign_part
from dsct.checkpoint.hugging_face import Incoming
from dsct.checkpoint.namings import naming_of, under_original_names
from dsct.checkpoint.report import summary
from dsct.checkpoint.tensor_files import StateDict

DSCT = "DSCT"
RESNET = "torchvision ResNet"
#: Other backbones without a detector: what only they have in their names.
_BACKBONES = {
    "Swin Transformer": r"relative_position_bias_table$",
    "vision transformer": r"(^|\.)(cls_token|class_token|pos_embed|pos_embedding)$",
    "ConvNeXt": r"\.(gamma|layer_scale)$",
}


class Layout(NamedTuple):
    """What a state dict is.

    Attributes:
        architecture: DSCT, a detector, or a backbone.
        naming: the program whose names it has, or the empty text.
        key: the name that decided.
    """

    architecture: str
    naming: str
    key: str

    @property
    def is_backbone(self) -> bool:
        """Whether it is a backbone that no configuration names."""
        return self.architecture in _BACKBONES

    def __str__(self) -> str:
        return f"{self.naming} {self.architecture}".strip()


def recognise(tensors: Mapping[str, torch.Tensor], source: object) -> Layout:
    """The layout of a state dict.

    Args:
        tensors: by name.
        source: named in the error.

    Raises:
        ValueError: the layout is unknown.

    Example:
        >>> import torch
        >>> recognise({"transformer.level_embed": torch.ones(4, 8)}, "file.pth")
        Layout(architecture='Deformable DETR', naming='', key='transformer.level_embed')
    """
    for name in tensors:
        if name.startswith(("query_embed_dsct.", "class_embed_dsct.")):
            return Layout(DSCT, "", name)
    detector = architecture_of(tensors)
    if detector is not None:
        naming = naming_of(tensors)
        if detector.name == DEFORMABLE_DETR and (key := foreign_part(under_original_names(tensors, naming))):
            return Layout("detector that extends Deformable DETR", naming, key)
        return Layout(detector.name, naming, detector.key)
    if "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors:
        return Layout(RESNET, "", "layer1.0.conv1.weight")
    for backbone, pattern in _BACKBONES.items():
        for name in tensors:
            if re.search(pattern, name):
                return Layout(backbone, "", name)
    raise ValueError(
        f"{source} must hold a state dict of DSCT, Deformable DETR (also of Hugging Face, detrex or mmdetection) or a "
        f"torchvision ResNet, got {summary(list(tensors)) or 'no tensors'}"
    )


def incoming_tensors(tensors: StateDict, layout: Layout, reuse_box_head: bool = False) -> dict[str, Incoming]:
    """The tensors of a file by their names in the model, or by a name that no model has.

    Args:
        tensors: by name in the file.
        layout: from :func:`recognise`.
        reuse_box_head: give the box head of a Deformable DETR the name of the model's.

    Returns:
        Tensors by name, each with its names in the file.
    """
    incoming = under_original_names(tensors, layout.naming)
    if layout.architecture == RESNET:
        return {f"backbone.0.body.{name}": tensor for name, tensor in incoming.items()}
    if layout.architecture != DSCT and reuse_box_head:
        return {re.sub(r"^bbox_embed\.", "bbox_embed_dsct.", name): tensor for name, tensor in incoming.items()}
    return incoming
