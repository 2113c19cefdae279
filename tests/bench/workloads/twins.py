"""Hugging Face's Deformable DETR beside ours with the same weights, ResNet-50 included.

Ours is a DSCT without context queries, which is a Deformable DETR; nothing is downloaded. With the same weights and
images both compute the same numbers, so that their times compare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import dsct
from dsct.checkpoint.hugging_face import original_tensors
from tests.reference.hugging_face import subject_name

Targets = list[dict[str, Tensor]]
CLASSES = 26


@dataclass(frozen=True)
class Sizes:
    """Of both models.

    Attributes:
        queries: subject queries of ours, object queries of theirs.
        layers: of encoder and decoder each.
        backbone: ``resnet50`` or, for a look whether it runs, ``resnet18``.
    """

    queries: int = 300
    layers: int = 6
    backbone: str = "resnet50"


QUICK = Sizes(queries=12, layers=2, backbone="resnet18")
RESNETS: dict[str, dict[str, Any]] = {
    "resnet50": {"depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck"},
    "resnet18": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
}


def hugging_face(sizes: Sizes) -> nn.Module:
    """Random weights, their defaults for all that speed depends on.

    Their freezing of the stem looks for names that a ``ResNetConfig`` backbone does not have, so that the whole
    backbone is frozen; here stages 2 to 4 train, as they do in the paper and in ours.
    """
    import transformers

    config = transformers.DeformableDetrConfig(
        backbone_config=transformers.ResNetConfig(
            **RESNETS[sizes.backbone], embedding_size=64, out_features=["stage2", "stage3", "stage4"]
        ),
        num_labels=CLASSES,
        num_queries=sizes.queries,
        encoder_layers=sizes.layers,
        decoder_layers=sizes.layers,
        auxiliary_loss=True,
        class_cost=2,
    )
    model = transformers.DeformableDetrForObjectDetection(config)
    for name, parameter in model.model.backbone.named_parameters():
        parameter.requires_grad_(re.search(r"encoder\.stages\.[123]\.", name) is not None)
    return model


def plain(sizes: Sizes) -> dsct.DSCT:
    """Deformable DETR as a DSCT: no context queries. Its loss has the weights of Hugging Face's."""
    return dsct.DSCT(
        dsct.DSCTConfig.paper_emotic(
            num_classes=CLASSES,
            multi_label=False,
            num_subject_queries=sizes.queries,
            num_context_queries=0,
            enc_layers=sizes.layers,
            dec_layers=sizes.layers,
            backbone=sizes.backbone,
            loss_class=1.0,
        )
    )


def full(sizes: Sizes) -> dsct.DSCT:
    """The paper's model for EMOTIC: 4 subject queries beside the context queries."""
    return dsct.DSCT(
        dsct.DSCTConfig.paper_emotic(
            num_context_queries=sizes.queries,
            enc_layers=sizes.layers,
            dec_layers=sizes.layers,
            backbone=sizes.backbone,
        )
    )


def copy_weights(ours: dsct.DSCT, theirs: Any) -> None:
    """All of them; anything left over is an error."""
    found = original_tensors(theirs.state_dict())
    ours.load_state_dict({subject_name(name): incoming.tensor for name, incoming in found.items()}, strict=True)


def twins(sizes: Sizes) -> tuple[dsct.DSCT, Any]:
    """Ours and theirs, same weights. Offsets and heads, which start without input, are made to depend on it."""
    theirs = hugging_face(sizes)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if ".backbone." not in name:
                parameter.add_(0.02 * torch.randn_like(parameter))
    ours = plain(sizes)
    copy_weights(ours, theirs)
    return ours, theirs


def targets(batch: int, boxes: int, multi_label: bool = False) -> Targets:
    """Boxes inside the image, one class number or several classes each."""
    result = []
    for _ in range(batch):
        size = 0.05 + 0.4 * torch.rand(boxes, 2)
        centre = size / 2 + torch.rand(boxes, 2) * (1 - size)
        labels = torch.randint(CLASSES, (boxes,))
        if multi_label:
            labels = (torch.rand(boxes, CLASSES) < 0.15).long()
        result.append({"labels": labels, "boxes": torch.cat((centre, size), dim=-1)})
    return result


def hugging_face_targets(ours: Targets) -> Targets:
    """The same under their names."""
    return [{"class_labels": target["labels"], "boxes": target["boxes"]} for target in ours]
