"""Hugging Face's Deformable DETR as the twin of a DSCT without context queries: its backbone and its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Features(nn.Module):
    """Feature maps of a Hugging Face backbone, for use as the backbone of the reference."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_channels = list(backbone.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.backbone(images).feature_maps)


RENAMED = [
    ("model.query_position_embeddings.", "query_embed_dsct."),
    ("model.level_embed", "transformer.level_embed"),
    ("model.reference_points.", "transformer.reference_points."),
    ("model.input_proj.", "input_proj."),
    ("model.encoder.", "transformer.encoder."),
    ("model.decoder.", "transformer.decoder."),
    (".encoder_attn_layer_norm.", ".norm1."),
    (".encoder_attn.", ".cross_attn."),
    (".mlp.fc1.", ".linear1."),
    (".mlp.fc2.", ".linear2."),
    ("class_embed.", "class_embed_dsct."),
    ("bbox_embed.", "bbox_embed_dsct."),
    (".self_attn.o_proj.", ".self_attn.out_proj."),
]


def checkpoint_name(name: str) -> str:
    """Hugging Face's name of a parameter to the checkpoint's."""
    encoder = name.startswith("model.encoder.")
    for old, new in RENAMED:
        name = name.replace(old, new)
    name = name.replace(".self_attn_layer_norm.", ".norm1." if encoder else ".norm2.")
    return name.replace(".final_layer_norm.", ".norm2." if encoder else ".norm3.")


def translated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's state dict, without the backbone, under the checkpoint's names."""
    renamed = {checkpoint_name(name): value for name, value in state.items() if ".backbone." not in name}
    for name in [name for name in renamed if ".self_attn.q_proj." in name]:
        parts = [renamed.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        renamed[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return renamed
