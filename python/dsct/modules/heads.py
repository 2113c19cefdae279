"""Emotion and box heads (paper, section 3.1)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig
from dsct.modules.block import coordinate_dtype, pair, tensors_of


class BoxEmbed(nn.Module):
    """Three linear layers E → E → E → 4; the last starts as a small box around the reference point."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        sizes = (hidden_dim, hidden_dim, hidden_dim, 4)
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes))
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0]))


def class_embed(config: DSCTConfig) -> nn.Linear:
    """Linear E → C (+ 1); every class starts at probability 0.01."""
    linear = nn.Linear(config.hidden_dim, config.num_logits)
    nn.init.constant_(linear.bias, -math.log(99.0))
    return linear


def _native(
    class_embed: nn.Module, bbox_embed: nn.Module, subject: Tensor, reference_points: Tensor
) -> tuple[Tensor, Tensor]:
    parts = {"class_embed": class_embed, "bbox_embed": bbox_embed}
    params = {f"{name}.{own}": tensor for name, part in parts.items() for own, tensor in tensors_of(part).items()}
    return _dsct.heads(params, subject, reference_points)


@pair(native=_native)
def heads(
    class_embed: nn.Module, bbox_embed: nn.Module, subject: Tensor, reference_points: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits and boxes of subjects: the box is sigmoid(MLP + (logit of the reference point, 0, 0)).

    Args:
        class_embed: linear E → C or C + 1.
        bbox_embed: a :class:`BoxEmbed`.
        subject: (…, N, E).
        reference_points: (B, N, 2), unscaled.

    Returns:
        Logits (…, N, C or C + 1) and boxes (…, N, 4), cx cy w h in [0, 1].

    Raises:
        ValueError: shapes do not fit.
    """
    layers: Any = bbox_embed.layers
    first, second, third = layers
    offset = third(second(first(subject).relu()).relu())
    offset = offset.to(coordinate_dtype(offset.dtype))
    smallest = 1e-5
    odds = reference_points.clamp(min=smallest) / (1 - reference_points).clamp(min=smallest)
    boxes = torch.cat((offset[..., :2] + odds.log(), offset[..., 2:]), dim=-1).sigmoid()
    return class_embed(subject), boxes
