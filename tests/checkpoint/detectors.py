"""State dicts of the DETR family: the names of each program, with small tensors of random numbers.

A name may contain ``#`` for the numbers 0 and 1 of layers, and ends in what is listed behind it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import torch

LINEAR, NORM = ("weight", "bias"), ("weight", "bias")
WIDTH = 8

_DEFORMABLE = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
_PACKED = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
_BACKBONE = ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "layer1.0.conv1.weight")


def _wide(prefix: str, parts: tuple[str, ...]) -> list[str]:
    return [f"{prefix}{part}.{end}" for part in parts for end in ("weight", "bias")]


def _official_deformable() -> list[str]:
    encoder, decoder = "transformer.encoder.layers.#.", "transformer.decoder.layers.#."
    return [
        *(f"backbone.0.body.{name}" for name in _BACKBONE),
        *_wide("input_proj.#.", ("0", "1")),
        "transformer.level_embed",
        *_wide(f"{encoder}self_attn.", _DEFORMABLE),
        *_wide(encoder, ("norm1", "linear1", "linear2", "norm2")),
        *_wide(f"{decoder}cross_attn.", _DEFORMABLE),
        *(f"{decoder}self_attn.{name}" for name in _PACKED),
        *_wide(decoder, ("norm1", "norm2", "linear1", "linear2", "norm3")),
        *_wide("", ("class_embed.#", "bbox_embed.#.layers.0")),
    ]


_REFINED = _wide("transformer.decoder.", ("class_embed.#", "bbox_embed.#.layers.0"))
_PROPOSALS = _wide("transformer.", ("enc_output", "enc_output_norm", "pos_trans", "pos_trans_norm"))


def _official_dense(cross: list[str], *further: str) -> list[str]:
    encoder, decoder = "transformer.encoder.layers.#.", "transformer.decoder.layers.#."
    return [
        *(f"backbone.0.body.{name}" for name in _BACKBONE),
        *_wide("", ("input_proj", "class_embed", "bbox_embed.layers.0")),
        *(f"{encoder}self_attn.{name}" for name in _PACKED),
        *_wide(encoder, ("norm1", "linear1", "linear2", "norm2")),
        *(f"{decoder}{name}" for name in cross),
        *_wide(decoder, ("norm1", "norm2", "linear1", "linear2", "norm3")),
        *_wide("transformer.decoder.", ("norm",)),
        *further,
    ]


_CONDITIONAL = [
    *_wide("", tuple(f"sa_{part}_proj" for part in ("qcontent", "qpos", "kcontent", "kpos", "v"))),
    *_wide("", tuple(f"ca_{part}_proj" for part in ("qcontent", "kcontent", "kpos", "qpos_sine", "v"))),
    *_wide("", ("self_attn.out_proj", "cross_attn.out_proj")),
]
_SCALED = _wide("transformer.decoder.", ("query_scale.layers.0", "ref_point_head.layers.0"))
_ANCHORED = [*_SCALED, *_wide("transformer.", ("encoder.query_scale.layers.0", "decoder.ref_anchor_head.layers.0"))]


def _mmcv(program: str, cross: tuple[str, ...]) -> list[str]:
    """Names of detrex and mmdetection, which both took those of mmcv."""
    if program == "detrex":
        root, own, other, feed, norm, level = (
            "transformer.",
            "attentions.0",
            "attentions.1",
            "ffns.0",
            "norm",
            "level_embeds",
        )
        first, second = f"{feed}.layers.0.0", f"{feed}.layers.1"
        body = ["stem.conv1.weight", "stem.conv1.norm.weight", "res2.0.conv1.weight", "res2.0.conv1.norm.running_mean"]
        body += ["res2.0.shortcut.weight", "res2.0.shortcut.norm.weight"]
        heads = _wide("", ("class_embed.#", "bbox_embed.#.layers.0"))
    else:
        root, own, other, norm, level = "", "self_attn", "cross_attn", "gn", "level_embed"
        first, second = "ffn.layers.0.0", "ffn.layers.1"
        body = ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.running_mean"]
        body += ["layer1.0.downsample.0.weight", "layer1.0.downsample.1.weight"]
        heads = _wide("bbox_head.", ("cls_branches.#", "reg_branches.#.0"))
    deformable = cross == _DEFORMABLE
    encoder, decoder = f"{root}encoder.layers.#.", f"{root}decoder.layers.#."
    cross_names = (
        _wide(f"{decoder}{other}.", cross) if cross != _PACKED else [f"{decoder}{other}.attn.{n}" for n in cross]
    )
    self_names = _wide(f"{encoder}{own}.", _DEFORMABLE) if deformable else [f"{encoder}{own}.attn.{n}" for n in _PACKED]
    return [
        *(f"backbone.{name}" for name in body),
        *_wide("neck.", ("convs.0.conv", f"convs.0.{norm}", "extra_convs.0.conv", f"extra_convs.0.{norm}")),
        *([f"{root}{level}"] if deformable else []),
        *self_names,
        *cross_names,
        *([f"{decoder}{own}.attn.{name}" for name in _PACKED] if deformable or cross == _PACKED else []),
        *_wide(encoder, (first, second, "norms.0", "norms.1")),
        *_wide(decoder, (first, second, "norms.0", "norms.1", "norms.2")),
        *heads,
    ]


_QUERY_CONTENT = ("query_content_proj", "key_content_proj", "query_pos_sine_proj", "value_proj", "out_proj")
_QCONTENT = ("qcontent_proj", "kcontent_proj", "qpos_sine_proj", "v_proj", "out_proj")
_MMDET_ANCHORED = _wide("", ("encoder.query_scale.layers.0", "decoder.ref_anchor_head.layers.0"))

#: (architecture, program) -> names.
FAMILY: dict[tuple[str, str], list[str]] = {
    ("Deformable DETR", ""): [
        *_official_deformable(), *_wide("transformer.", ("reference_points",)), "query_embed.weight",
    ],
    ("two-stage Deformable DETR", ""): [*_official_deformable(), *_PROPOSALS, *_REFINED],
    ("H-DETR", ""): [*_official_deformable(), *_PROPOSALS, *_REFINED, "query_embed.weight"],
    ("DETA", ""): [
        *_official_deformable(), *_PROPOSALS, *_REFINED, *_wide("transformer.", ("pix_trans", "pix_trans_norm")),
    ],
    ("DINO", ""): [
        *_official_deformable(), *_REFINED, *_wide("transformer.decoder.", ("norm", "ref_point_head.layers.0")),
        *_wide("transformer.", ("enc_output", "enc_output_norm", "enc_out_class_embed", "enc_out_bbox_embed.layers.0")),
        "transformer.tgt_embed.weight", "label_enc.weight",
    ],
    ("DAB-Deformable-DETR", ""): [
        *_official_deformable(), *_REFINED, *_SCALED, "refpoint_embed.weight", "tgt_embed.weight",
    ],
    ("DN-Deformable-DETR", ""): [
        *_official_deformable(), *_REFINED, *_SCALED, "refpoint_embed.weight", "tgt_embed.weight", "label_enc.weight",
    ],
    ("DETR", ""): _official_dense(
        [*(f"self_attn.{name}" for name in _PACKED), *(f"multihead_attn.{name}" for name in _PACKED)],
        "query_embed.weight",
    ),
    ("Conditional DETR", ""): _official_dense(_CONDITIONAL, *_SCALED, "query_embed.weight"),
    ("DAB-DETR", ""): _official_dense(_CONDITIONAL, *_ANCHORED, "refpoint_embed.weight"),
    ("DN-DETR", ""): _official_dense(_CONDITIONAL, *_ANCHORED, "refpoint_embed.weight", "label_enc.weight"),
    ("Anchor DETR", ""): [
        *(f"backbone.0.body.{name}" for name in _BACKBONE),
        *_wide("", ("input_proj.0.0", "input_proj.0.1")),
        *(f"transformer.{part}_layers.#.self_attn.{name}" for part in ("encoder", "decoder") for name in _PACKED),
        *(f"transformer.decoder_layers.#.cross_attn.{name}" for name in _PACKED),
        *_wide("transformer.", ("adapt_pos2d.0", "adapt_pos1d.0", "class_embed.#", "bbox_embed.#.layers.0")),
        "transformer.pattern.weight", "transformer.position.weight",
    ],
    ("Deformable DETR", "detrex"): [
        *_mmcv("detrex", _DEFORMABLE), *_wide("transformer.", ("reference_points",)), "query_embedding.weight",
    ],
    ("two-stage Deformable DETR", "detrex"): [*_mmcv("detrex", _DEFORMABLE), *_PROPOSALS],
    ("H-DETR", "detrex"): [*_mmcv("detrex", _DEFORMABLE), *_PROPOSALS, "query_embedding.weight"],
    ("DETA", "detrex"): [*_mmcv("detrex", _DEFORMABLE), *_PROPOSALS, *_wide("transformer.", ("pix_trans",))],
    ("DINO", "detrex"): [
        *_mmcv("detrex", _DEFORMABLE), *_wide("transformer.", ("enc_output", "enc_output_norm")),
        "transformer.tgt_embed.weight", "label_enc.weight",
    ],
    ("DAB-Deformable-DETR", "detrex"): [*_mmcv("detrex", _DEFORMABLE), "anchor_box_embed.weight", "tgt_embed.weight"],
    ("DETR", "detrex"): [*_mmcv("detrex", _PACKED), "query_embed.weight"],
    ("Conditional DETR", "detrex"): [*_mmcv("detrex", _QUERY_CONTENT), "query_embed.weight"],
    ("DAB-DETR", "detrex"): [*_mmcv("detrex", _QUERY_CONTENT), "anchor_box_embed.weight"],
    ("DN-DETR", "detrex"): [
        *_mmcv("detrex", _QUERY_CONTENT), "anchor_box_embed.weight", "denoising_generator.label_encoder.weight",
    ],
    ("Deformable DETR", "mmdetection"): [
        *_mmcv("mmdetection", _DEFORMABLE), *_wide("", ("reference_points_fc",)), "query_embedding.weight",
    ],
    ("two-stage Deformable DETR", "mmdetection"): [
        *_mmcv("mmdetection", _DEFORMABLE), *_wide("", ("memory_trans_fc", "memory_trans_norm", "pos_trans_fc")),
    ],
    ("DINO", "mmdetection"): [
        *_mmcv("mmdetection", _DEFORMABLE), *_wide("", ("memory_trans_fc", "memory_trans_norm")),
        "query_embedding.weight", "dn_query_generator.label_embedding.weight",
    ],
    ("DETR", "mmdetection"): [*_mmcv("mmdetection", _PACKED), "query_embedding.weight"],
    ("Conditional DETR", "mmdetection"): [*_mmcv("mmdetection", _QCONTENT), "query_embedding.weight"],
    ("DAB-DETR", "mmdetection"): [*_mmcv("mmdetection", _QCONTENT), *_MMDET_ANCHORED, "query_embedding.weight"],
}  # fmt: skip


def _numbered(names: list[str]) -> Iterator[str]:
    for name in names:
        yield from (name.replace("#", number) for number in ("01" if "#" in name else "0"))


def state_of(architecture: str, program: str = "") -> dict[str, torch.Tensor]:
    """A state dict with the names of a detector; every value is drawn with a seed made of its name."""
    state = {}
    for name in _numbered(FAMILY[architecture, program]):
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        state[name] = torch.randn((WIDTH, WIDTH) if name.endswith("weight") else (WIDTH,), generator=generator)
    return state
