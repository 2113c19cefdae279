"""Models whose exported forms are compared with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import dsct
from tests.comparison import randomise, small

SIZES = ((2, 192, 256), (1, 70, 91), (3, 130, 100))  # batch, height, width
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded", "person_class": True},
}


def model_of(**overrides: Any) -> dsct.DSCT:
    """Random weights, in evaluation mode."""
    torch.manual_seed(0)
    model = dsct.DSCT(small(**overrides)).eval()
    randomise(model)
    return model


def model_with_ties(**overrides: Any) -> dsct.DSCT:
    """Six of nine context queries are at one point, the corner (1, 1), so that four nearest are no clear choice."""
    model = model_of(**overrides)
    points = model.transformer.reference_points
    with torch.no_grad():
        corner = torch.linalg.lstsq(points.weight, (25 - points.bias)[:, None]).solution[:, 0]  # sigmoid(25) is 1
        model.query_embed.weight[1:7, : len(corner)] = corner
    return model


def of_last_layer(model: dsct.DSCT, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and boxes of the native model."""
    with torch.no_grad():
        output = model(*inputs)
    return output["pred_logits"], output["pred_boxes"]
