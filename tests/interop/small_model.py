"""A model of one attention module as Hugging Face's, which computes what a test wants."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.reference.deform_attn import ms_deform_attn as reference


class Attention(nn.Module):
    """As Hugging Face's, in the way that is given."""

    def __init__(self, way: Any) -> None:
        super().__init__()
        self.way = way

    def forward(
        self, value: Tensor, value_spatial_shapes: Tensor, value_spatial_shapes_list: Any, level_start_index: Any,
        sampling_locations: Tensor, attention_weights: Tensor, im2col_step: int,
    ) -> Tensor:  # fmt: skip
        shapes = value_spatial_shapes_list
        return self.way(reference(value.float(), shapes, sampling_locations.float(), attention_weights.float())).to(
            value.dtype
        )  # type: ignore[no-any-return]


class Small(nn.Module):
    """The attention, a layer, and what is made of its output at the end."""

    def __init__(self, way: Any = lambda out: out, end: Any = lambda out: out) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention, self.layer, self.end = Attention(way), nn.Linear(8, 8), end
        self.dropout = nn.Dropout(0.5)

    def forward(self, value: Tensor) -> dict[str, Any]:
        shapes, points = [(2, 3)], value.new_full((1, 5, 2, 1, 2, 2), 0.4)
        weights = value.new_full((1, 5, 2, 1, 2), 0.5)
        value = self.layer(value).view(1, 6, 2, 4)
        return {"out": self.end(self.dropout(self.attention(value, None, shapes, None, points, weights, 64)))}


VALUE = torch.linspace(-1, 1, 48).view(1, 6, 8)
