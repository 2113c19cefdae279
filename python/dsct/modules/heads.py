"""Emotion and box heads (paper, section 3.1)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from dsct import _dsct
from dsct.config import DSCTConfig
from dsct.modules.block import Block


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


class Heads(Block):
    """One class and one box head, borrowed for a call (not registered twice in the model's state)."""

    def __init__(self, class_embed: nn.Module, bbox_embed: nn.Module) -> None:
        super().__init__()
        self.class_embed, self.bbox_embed = class_embed, bbox_embed

    def forward(self, subject: Tensor, reference_points: Tensor) -> tuple[Tensor, Tensor]:
        """(…, N, E) and (B, N, 2) -> logits (…, N, C or C + 1) and boxes (…, N, 4), cx cy w h in [0, 1]."""
        return _dsct.heads(self.tensors(), subject, reference_points)
