"""Small random models of the installed transformers, one of each kind with deformable attention; nothing is downloaded.

Sizes are what a table needs to run in a second; sizes that weights do not depend on are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.comparison import randomise

_SWIN = {"model_type": "swin", "embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 4], "window_size": 7}
_RESNET = {"model_type": "rt_detr_resnet", "embedding_size": 16, "hidden_sizes": [16, 24, 32, 40],
           "depths": [1, 1, 1, 1], "layer_type": "basic", "out_features": ["stage2", "stage3", "stage4"]}  # fmt: skip
_BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 32}  # fmt: skip
_REAL_TIME = {"encoder_in_channels": [24, 32, 40], "encoder_hidden_dim": 32, "d_model": 32, "encoder_ffn_dim": 32,
              "decoder_ffn_dim": 32, "decoder_layers": 2, "decoder_in_channels": [32, 32, 32], "num_queries": 20,
              "encoder_attention_heads": 4, "decoder_attention_heads": 4}  # fmt: skip
_GROUNDED = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 20,
             "d_model": 32, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
             "backbone_config": _SWIN | {"out_indices": [2, 3, 4]}, "text_config": _BERT}  # fmt: skip


def _images(height: int = 96, width: int = 128) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def _prompt() -> dict[str, torch.Tensor]:
    """The words "a cat. a dog." in the tokens of BERT."""
    tokens = torch.tensor([[101, 1037, 4937, 1012, 1037, 3899, 1012, 102]])
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _deformable_detr(hf: Any) -> tuple[Any, dict[str, Any]]:
    backbone = hf.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = hf.DeformableDetrConfig(
        backbone_config=backbone, num_queries=20, d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=4, decoder_attention_heads=4,
    )  # fmt: skip
    return hf.DeformableDetrForObjectDetection(config), {"pixel_values": _images()}


def _grounding_dino(hf: Any) -> tuple[Any, dict[str, Any]]:
    config = hf.GroundingDinoConfig(**_GROUNDED)
    return hf.GroundingDinoForObjectDetection(config), {"pixel_values": _images(), **_prompt()}


def _mm_grounding_dino(hf: Any) -> tuple[Any, dict[str, Any]]:
    config = hf.MMGroundingDinoConfig(**_GROUNDED)
    return hf.MMGroundingDinoForObjectDetection(config), {"pixel_values": _images(), **_prompt()}


def _omdet_turbo(hf: Any) -> tuple[Any, dict[str, Any]]:
    text = {"model_type": "clip_text_model", "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "projection_dim": 48}  # fmt: skip
    config = hf.OmDetTurboConfig(
        text_config=text, backbone_config=_SWIN | {"image_size": 96, "out_indices": [2, 3, 4]}, image_size=96,
        num_queries=20, encoder_hidden_dim=32, encoder_attention_heads=4, encoder_dim_feedforward=32,
        encoder_in_channels=[24, 48, 96], vision_features_channels=[32, 32, 32], decoder_hidden_dim=32,
        decoder_num_heads=4, decoder_num_layers=2, decoder_dim_feedforward=32, class_embed_dim=48,
        text_projection_in_dim=48, text_projection_out_dim=48, task_encoder_hidden_dim=32,
        apply_layernorm_after_vision_backbone=False,
    )  # fmt: skip
    words = torch.tensor([[49406, 2368, 49407], [49406, 1929, 49407]])
    trial = {
        "pixel_values": _images(96, 96), "classes_input_ids": words, "classes_attention_mask": torch.ones_like(words),
        "tasks_input_ids": words[:1], "tasks_attention_mask": torch.ones_like(words[:1]),
        "classes_structure": torch.tensor([2]),
    }  # fmt: skip
    return hf.OmDetTurboForObjectDetection(config), trial


def _real_time(name: str, **options: Any) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
    def build(hf: Any) -> tuple[Any, dict[str, Any]]:
        config = getattr(hf, f"{name}Config")(**{"backbone_config": _RESNET, **_REAL_TIME, **options})
        return getattr(hf, f"{name}ForObjectDetection")(config), {"pixel_values": _images()}

    return build


def _lw_detr(hf: Any) -> tuple[Any, dict[str, Any]]:
    backbone = {"model_type": "lw_detr_vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "image_size": 64, "window_block_indices": [0], "out_indices": [1, 2], "num_windows": 4}  # fmt: skip
    config = hf.LwDetrConfig(
        backbone_config=backbone, projector_scale_factors=[1.0], d_model=32, decoder_layers=2, decoder_ffn_dim=32,
        decoder_self_attention_heads=2, decoder_cross_attention_heads=4, num_queries=10, group_detr=2,
    )  # fmt: skip
    return hf.LwDetrForObjectDetection(config), {"pixel_values": _images(64, 64)}


def _rf_detr(hf: Any) -> tuple[Any, dict[str, Any]]:
    backbone = {"model_type": "rf_detr_dinov2", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "image_size": 56, "num_windows": 2, "out_indices": [1, 2]}  # fmt: skip
    config = hf.RfDetrConfig(
        backbone_config=backbone, d_model=32, decoder_layers=2, decoder_ffn_dim=32, decoder_self_attention_heads=2,
        decoder_cross_attention_heads=4, num_queries=10, group_detr=2,
    )  # fmt: skip
    return hf.RfDetrForObjectDetection(config), {"pixel_values": _images(56, 56)}


def _mask2former(hf: Any) -> tuple[Any, dict[str, Any]]:
    config = hf.Mask2FormerConfig(
        backbone_config=_SWIN | {"out_features": ["stage1", "stage2", "stage3", "stage4"]}, feature_size=32,
        mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32, encoder_layers=2, decoder_layers=2,
        num_attention_heads=4, dim_feedforward=32, num_queries=10,
    )  # fmt: skip
    return hf.Mask2FormerForUniversalSegmentation(config), {"pixel_values": _images()}


def _oneformer(hf: Any) -> tuple[Any, dict[str, Any]]:
    config = hf.OneFormerConfig(
        backbone_config=_SWIN | {"out_features": ["stage1", "stage2", "stage3", "stage4"]}, conv_dim=32, mask_dim=32,
        hidden_dim=32, encoder_feedforward_dim=32, encoder_layers=2, decoder_layers=3, num_attention_heads=4,
        dim_feedforward=32, num_queries=10,
    )  # fmt: skip
    trial = {"pixel_values": _images(), "task_inputs": torch.ones(1, config.task_seq_len)}
    return hf.OneFormerForUniversalSegmentation(config), trial


#: Folder of transformers.models -> builder of a model and of the inputs of a trial.
BUILDERS: dict[str, Callable[[Any], tuple[Any, dict[str, Any]]]] = {
    "deformable_detr": _deformable_detr,
    "grounding_dino": _grounding_dino,
    "mm_grounding_dino": _mm_grounding_dino,
    "omdet_turbo": _omdet_turbo,
    "rt_detr": _real_time("RTDetr"),
    "rt_detr_v2": _real_time("RTDetrV2"),
    "d_fine": _real_time("DFine"),
    "deimv2": _real_time("Deimv2"),
    "lw_detr": _lw_detr,
    "rf_detr": _rf_detr,
    "mask2former": _mask2former,
    "oneformer": _oneformer,
    "pp_doclayout_v2": _real_time("PPDocLayoutV2", class_thresholds=[0.5] * 25, class_order=list(range(25))),
    "pp_doclayout_v3": _real_time(
        "PPDocLayoutV3",
        x4_feat_dim=16,
        backbone_config=_RESNET | {"out_features": ["stage1", "stage2", "stage3", "stage4"]},
    ),
    "pp_doclayout_v4": _real_time("PPDocLayoutV4"),
}


def models_with_deformable_attention() -> dict[str, bool]:
    """Folder of transformers.models -> whether its sampling is a module; the others call a function."""
    transformers = pytest.importorskip("transformers")
    found = {}
    for path in sorted((Path(transformers.__file__).parent / "models").glob("*/modeling_*.py")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^(class|def) .*multi_?scale_?deformable_?attention", text, re.MULTILINE | re.IGNORECASE):
            found[path.parent.name] = bool(re.search(r"^class MultiScaleDeformableAttention\b", text, re.MULTILINE))
    return found


def small_model(folder: str) -> tuple[Any, dict[str, Any]]:
    """A model in evaluation mode, and the inputs of a trial by name."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, trial = BUILDERS[folder](transformers)
    for module in model.modules():  # as they begin, all points of a head lie on a line and count alike
        if hasattr(module, "sampling_offsets"):
            randomise(module, 0.2)
    return model.eval(), trial
