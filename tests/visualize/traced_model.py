"""A small model with random weights, and an image, for tests of what is drawn of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import dsct

WIDTH, HEIGHT = 120, 80
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
EVERYBODY: dict[str, Any] = {"score_threshold": 0.0, "nms_iou": None}
NOBODY: dict[str, Any] = {"score_threshold": 1.0}


def small_model(**fields: Any) -> dsct.DSCT:
    """Three subject and ten context queries, with sampling points that depend on the query."""
    torch.manual_seed(0)
    sizes = {"num_subject_queries": 3, "num_context_queries": 10, "k_spatial": 4, "k_semantic": 3, **fields}
    model = dsct.DSCT(dsct.DSCTConfig.tiny(**sizes))
    for layer in model.transformer.decoder.layers:
        for projection in (layer.cross_attn.sampling_offsets, layer.cross_attn.attention_weights):
            nn.init.normal_(projection.weight, std=0.5)
    model.preprocess = {"short_side": 64, "long_side": 200}
    return model
