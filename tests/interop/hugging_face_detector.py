"""A small Hugging Face Deformable DETR with random weights; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.comparison import randomise

#: What of it a DSCT can tell from its weights and configuration.
SIZES: dict[str, Any] = {
    "backbone": "resnet18", "hidden_dim": 64, "nheads": 4, "enc_layers": 2, "dec_layers": 2, "dim_feedforward": 40,
    "enc_n_points": 2,
}  # fmt: skip
QUERIES = 12


def hugging_face_detector() -> Any:
    """``DeformableDetrForObjectDetection`` on a ResNet-18, or a skipped test without transformers."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.DeformableDetrConfig(
        backbone_config=backbone, num_labels=9, num_queries=QUERIES, d_model=64, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=40, decoder_ffn_dim=40,
        encoder_n_points=2, dropout=0.0, disable_custom_kernels=True,
    )  # fmt: skip
    model = transformers.DeformableDetrForObjectDetection(config)
    randomise(model, 0.05)
    return model.eval()
