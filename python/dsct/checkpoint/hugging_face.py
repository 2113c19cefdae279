"""Hugging Face's Deformable DETR under the names of the original one, values untouched.

``DeformableDetrForObjectDetection`` and ``DeformableDetrModel`` (the same without ``model.`` and heads) are supported,
with the names of models in memory and of files, and with backbones of timm or of Hugging Face's own ResNet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dsct.json_text import parse_json_object, read_json_object

CONFIG_FILE = "config.json"
#: Files of ``save_pretrained``, in order of preference; an index names the files of a model in several parts.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

#: Parts of names: (pattern, replacement), applied in this order to a name without ``model.``.
_RENAMED = (
    (r"^query_position_embeddings\.", "query_embed."),
    (r"^(?=level_embed$|reference_points\.|encoder\.|decoder\.|enc_output|pos_trans)", "transformer."),
    (r"(\.layers\.\d+\.)mlp\.", r"\1"),
    (r"(\.layers\.\d+\.)fc([12])\.", r"\1linear\2."),
    (r"\.encoder_attn_layer_norm\.", ".norm1."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"(\.encoder\.layers\.\d+\.)self_attn_layer_norm\.", r"\1norm1."),
    (r"(\.decoder\.layers\.\d+\.)self_attn_layer_norm\.", r"\1norm2."),
    (r"(\.encoder\.layers\.\d+\.)final_layer_norm\.", r"\1norm2."),
    (r"(\.decoder\.layers\.\d+\.)final_layer_norm\.", r"\1norm3."),
    (r"(\.decoder\.layers\.\d+\.self_attn\.)o_proj\.", r"\1out_proj."),
)

_RESNET = (
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.{match[2]}."),
    (r"\.layer\.(\d+)\.convolution\.", lambda match: f".conv{int(match[1]) + 1}."),
    (r"\.layer\.(\d+)\.normalization\.", lambda match: f".bn{int(match[1]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
)


class Incoming(NamedTuple):
    """A tensor for the model.

    Attributes:
        names: names of the tensors in the file that it consists of, in the order of their rows; usually one.
        tensor: its value.
    """

    names: tuple[str, ...]
    tensor: torch.Tensor


def is_hugging_face(names: Iterable[str]) -> bool:
    """Whether these are the names of a Hugging Face Deformable DETR, or of another of its detectors."""
    return any(
        re.search(r"^(model\.)?level_embed$|^(model\.)?backbone\.(conv_encoder|model)\.|_layer_norm\.", n)
        for n in names
    )


def original_name(name: str) -> str:
    """Hugging Face's name of a tensor to the original one; the decoder's projections keep a name each.

    Example:
        >>> original_name("model.decoder.layers.0.encoder_attn_layer_norm.bias")
        'transformer.decoder.layers.0.norm1.bias'
        >>> original_name("model.backbone.conv_encoder.model.encoder.stages.1.layers.0.layer.2.normalization.bias")
        'backbone.0.body.layer2.0.bn3.bias'
    """
    name = name.removeprefix("model.")
    if name.startswith("backbone."):
        body = re.sub(r"^backbone\.(conv_encoder\.)?(model\.)?(_backbone\.)?", "", name)
        return "backbone.0.body." + _substituted(body, _RESNET)
    return _substituted(name, _RENAMED)


def original_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, Incoming]:
    """A Hugging Face state dict, or a part of one, under the original names.

    The three projections of the decoder's self-attention become one, row under row, as ``nn.MultiheadAttention`` has
    them. The heads that iterative refinement keeps in the decoder get the names of the outer ones if these are not in
    the file.

    Example:
        >>> import torch
        >>> state = {f"model.decoder.layers.0.self_attn.{part}_proj.bias": torch.ones(2) for part in "qkv"}
        >>> {name: tuple(incoming.tensor.shape) for name, incoming in original_tensors(state).items()}
        {'transformer.decoder.layers.0.self_attn.in_proj_bias': (6,)}
    """
    found: dict[str, Incoming] = {}
    for name, tensor in tensors.items():
        found.setdefault(original_name(name), Incoming((name,), tensor))
    for name in [name for name in found if ".self_attn.q_proj." in name]:
        parts = [name.replace(".q_proj.", f".{letter}_proj.") for letter in "qkv"]
        if all(part in found and found[part].tensor.shape == found[name].tensor.shape for part in parts):
            joined = [found.pop(part) for part in parts]
            found[name.replace(".q_proj.", ".in_proj_")] = Incoming(
                tuple(part.names[0] for part in joined), torch.cat([part.tensor for part in joined])
            )
    inner = "transformer.decoder."
    for name in [name for name in found if name.startswith((f"{inner}class_embed.", f"{inner}bbox_embed."))]:
        if name.removeprefix(inner) not in found:
            found[name.removeprefix(inner)] = found.pop(name)
    return found


def files_of_folder(folder: Path) -> tuple[list[Path], str | None]:
    """The weights files of a folder that ``save_pretrained`` wrote, and the text of its ``config.json`` if present.

    Raises:
        FileNotFoundError: a file that the index names is missing.
        ValueError: the folder contains no such file, or its index names none or files elsewhere.
    """
    config = folder / CONFIG_FILE
    text = json.dumps(read_json_object(config)) if config.is_file() else None
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            files = _files_of_index(folder / name) if name.endswith(".json") else [folder / name]
            if absent := [file for file in files if not file.is_file()]:
                raise FileNotFoundError(f"{folder / name} names {absent[0].name}, which is not there")
            return files, text
    raise ValueError(f"{folder} is a folder without {', '.join(WEIGHT_FILES[:-1])} or {WEIGHT_FILES[-1]}")


def sizes_of_config(text: str) -> dict[str, Any]:
    """The sizes in a Hugging Face ``config.json`` that tensors do not show, as ``DSCTConfig`` fields.

    Example:
        >>> sizes_of_config('{"encoder_attention_heads": 4, "encoder_n_points": 2}')
        {'nheads': 4, 'enc_n_points': 2}
    """
    content = parse_json_object(text, "config.json")
    fields = {
        "nheads": "encoder_attention_heads",
        "enc_n_points": "encoder_n_points",
        "dec_n_points": "decoder_n_points",
    }
    return {field: content[theirs] for field, theirs in fields.items() if theirs in content}


#: Fields of a ``config.json`` with the only value that a DSCT computes with, where no tensor shows another.
_FIXED: dict[str, Any] = {
    "activation_function": "relu",
    "position_embedding_type": "sine",
    "num_channels": 3,
    "two_stage": False,
    "with_box_refine": False,
}
#: The same for the backbone.
_FIXED_IN_BACKBONE: dict[str, Any] = {
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}


def unkept_by_config(text: str) -> tuple[str, ...]:
    """A sentence for everything in a ``config.json`` that changes what the weights compute and that a DSCT cannot keep.

    Example:
        >>> unkept_by_config('{"activation_function": "gelu", "dilation": false}')
        ("activation_function is 'gelu' in the detector and 'relu' in the model",)
    """
    content = parse_json_object(text, "config.json")
    backbone = content.get("backbone_config")
    backbone = backbone if isinstance(backbone, dict) else {}
    found = []
    if content.get("dilation") or backbone.get("output_stride") == 16:
        found.append("the last stage of the file's backbone is dilated (DC5), the model's is not")
    for fields, fixed, prefix in ((content, _FIXED, ""), (backbone, _FIXED_IN_BACKBONE, "backbone_config.")):
        found += [
            f"{prefix}{name} is {fields[name]!r} in the detector and {value!r} in the model"
            for name, value in fixed.items()
            if name in fields and fields[name] != value
        ]
    encoder, decoder = content.get("encoder_attention_heads"), content.get("decoder_attention_heads")
    if None not in (encoder, decoder) and encoder != decoder:
        found.append(f"decoder_attention_heads is {decoder} in the detector and {encoder} in the model")
    return tuple(found)


def _files_of_index(path: Path) -> list[Path]:
    index = read_json_object(path)
    weight_map = index.get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise ValueError(f"{path} must name files of its own folder under 'weight_map'")
    return [path.parent / name for name in sorted(set(names))]


def _substituted(name: str, rules: Iterable[tuple[str, Any]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
