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
    """Every third context query is at the same corner of the image: the nearest four are the first of equals."""
    model = model_of(**overrides)
    points = model.transformer.reference_points
    corners = torch.tensor([[25.0, 25.0], [-25.0, 25.0], [25.0, -25.0]])  # of which the sigmoid is 0 or 1
    with torch.no_grad():
        positions = torch.linalg.lstsq(points.weight, (corners - points.bias).T).solution.T
        for query, row in enumerate(model.query_embed.weight):
            row[: positions.shape[1]] = positions[query % 3]
    return model


def of_last_layer(model: dsct.DSCT, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and boxes of the native model."""
    with torch.no_grad():
        output = model(*inputs)
    return output["pred_logits"], output["pred_boxes"]


def letterboxes(height: int, width: int) -> Tensor:
    """Masks (6, height, width): none; padding around, at the left, at the top, at both; padding only."""
    mask = torch.zeros(6, height, width, dtype=torch.bool)
    mask[1, : height // 8] = mask[1, -height // 8 :] = True
    mask[2:5:2, :, : width // 3] = True
    mask[3:5, : height // 4] = True
    mask[5] = True
    return mask
