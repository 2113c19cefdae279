"""Hugging Face's Deformable DETR as the twin of a DSCT without context queries: its backbone and its weights."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from dsct.checkpoint.hugging_face import original_tensors


class Features(nn.Module):
    """Feature maps of a Hugging Face backbone, for use as the backbone of the reference."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_channels = list(backbone.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.backbone(images).feature_maps)


def translated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's state dict, without the backbone, under the names of a DSCT whose subjects are its queries.

    Only names and the joining of projections come from the package; that they are right, the equal outputs show.
    """
    found = original_tensors({name: value for name, value in state.items() if ".backbone." not in name})
    return {subject_name(name): incoming.tensor for name, incoming in found.items()}


def subject_name(name: str) -> str:
    """Deformable DETR's name of a tensor to that of a DSCT without context queries.

    >>> subject_name("class_embed.0.bias")
    'class_embed_dsct.0.bias'
    """
    return re.sub(r"^(query_embed|class_embed|bbox_embed)\.", r"\1_dsct.", name)
