"""Other programs' names of a Deformable DETR's tensors, as the original ones: Hugging Face, detrex, mmdetection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

from dsct.checkpoint.hugging_face import Incoming, is_hugging_face, original_tensors

ORIGINAL, HUGGING_FACE, DETREX, MMDETECTION = "", "Hugging Face", "detrex", "mmdetection"

#: Parts of names, applied in this order; detectron2's ResNet, then the neck, then the transformer.
_DETREX = (
    (r"^backbone\.stem\.conv1\.norm\.", "backbone.0.body.bn1."),
    (r"^backbone\.stem\.", "backbone.0.body."),
    (r"^backbone\.res(\d)\.", lambda match: f"backbone.0.body.layer{int(match[1]) - 1}."),
    (r"(^backbone\..*)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"(^backbone\..*)\.shortcut\.norm\.", r"\1.downsample.1."),
    (r"(^backbone\..*)\.shortcut\.", r"\1.downsample.0."),
)
_MMDETECTION = (
    (r"^bbox_head\.(?=transformer\.|query_embedding\.)", ""),  # before version 3
    (r"^backbone\.", "backbone.0.body."),
    (r"^(?=encoder\.|decoder\.|level_embed$|reference_points_fc\.)", "transformer."),
    (r"^bbox_head\.(cls_branches|fc_cls)\.", "class_embed."),
    (
        r"^bbox_head\.reg_branches\.(\d+)\.([024])\.",
        lambda match: f"bbox_embed.{match[1]}.layers.{int(match[2]) // 2}.",
    ),
)
#: What detrex and mmdetection took from mmcv. Norms stand in the order of their use there.
_MMCV = (
    (r"^neck\.convs\.(\d+)\.conv\.", r"input_proj.\1.0."),
    (r"^neck\.convs\.(\d+)\.(norm|gn)\.", r"input_proj.\1.1."),
    (r"^query_embedding\.", "query_embed."),
    (r"^transformer\.level_embeds$", "transformer.level_embed"),
    (r"^transformer\.reference_points_fc\.", "transformer.reference_points."),
    (r"(\.layers\.\d+\.)ffns?\.(0\.)?layers\.0\.0\.", r"\1linear1."),
    (r"(\.layers\.\d+\.)ffns?\.(0\.)?layers\.1\.", r"\1linear2."),
    (r"(\.layers\.\d+\.)attentions\.0\.", r"\1self_attn."),
    (r"(\.layers\.\d+\.)attentions\.1\.", r"\1cross_attn."),
    (r"(\.decoder\.layers\.\d+\.self_attn\.)attn\.", r"\1"),
    (r"(\.encoder\.layers\.\d+\.)norms\.([01])\.", lambda match: f"{match[1]}norm{int(match[2]) + 1}."),
    (r"(\.decoder\.layers\.\d+\.)norms\.([012])\.", lambda match: f"{match[1]}norm{(2, 1, 3)[int(match[2])]}."),
)


def naming_of(names: Iterable[str]) -> str:
    """The program whose names these are; the empty text is the original's.

    Example:
        >>> naming_of(["backbone.stem.conv1.weight"]), naming_of(["bbox_head.cls_branches.0.weight"])
        ('detrex', 'mmdetection')
    """
    names = list(names)
    if any(re.match(r"bbox_head\.|(encoder|decoder)\.layers\.\d+\.ffn\.", name) for name in names):
        return MMDETECTION
    if any(
        re.match(r"backbone\.stem\.|transformer\.(encoder|decoder)\.layers\.\d+\.attentions\.", name) for name in names
    ):
        return DETREX
    return HUGGING_FACE if is_hugging_face(names) else ORIGINAL


def under_original_names(tensors: Mapping[str, torch.Tensor], naming: str) -> dict[str, Incoming]:
    """The tensors under the names of the original Deformable DETR, each with its names in the file.

    Example:
        >>> found = under_original_names({"neck.convs.0.gn.bias": torch.ones(8)}, "mmdetection")
        >>> list(found)
        ['input_proj.0.1.bias']
    """
    if naming == HUGGING_FACE:
        return original_tensors(tensors)
    if naming == ORIGINAL:
        return {name: Incoming((name,), tensor) for name, tensor in tensors.items()}
    rules = (*(_DETREX if naming == DETREX else _MMDETECTION), *_MMCV)
    levels = len({match[1] for name in tensors if (match := re.match(r"neck\.convs\.(\d+)\.", name))})
    found = {}
    for name, tensor in tensors.items():
        further = re.match(r"neck\.extra_convs\.(\d+)\.(conv|norm|gn)\.(.*)", name)
        if further:
            new = f"input_proj.{levels + int(further[1])}.{0 if further[2] == 'conv' else 1}.{further[3]}"
        else:
            new = name
            for pattern, replacement in rules:
                new = re.sub(pattern, replacement, new)
        found[new] = Incoming((name,), tensor)
    return found
