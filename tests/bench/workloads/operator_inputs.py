"""Inputs of deformable attention as the model has them, and its usual formulation in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = list[tuple[int, int]]

#: Levels at strides 8, 16, 32 and 64 of an image of 800 x 1066 pixels: 17,821 cells.
FULL: Shapes = [(100, 134), (50, 67), (25, 34), (13, 17)]
TINY: Shapes = [(13, 17), (7, 9), (4, 5), (2, 3)]
HEADS, CHANNELS, POINTS = 8, 32, 4
SIGMA = 2.0


@dataclass(frozen=True)
class Inputs:
    """Arguments of the plain and of the fused operator that mean the same.

    Attributes:
        shapes: (height, width) of each level.
        value: (B, S, M, D).
        reference: (B, Q, L, 2) in [0, 1].
        offsets: (B, Q, M, L, P, 2) in cells.
        logits: (B, Q, M, L, P).
    """

    shapes: Shapes
    value: Tensor
    reference: Tensor
    offsets: Tensor
    logits: Tensor

    @property
    def flat(self) -> list[int]:
        """Shapes as the operator takes them."""
        return [size for pair in self.shapes for size in pair]

    def locations(self) -> Tensor:
        """(B, Q, M, L, P, 2): reference points moved by the offsets."""
        return sampling_locations(self.reference, self.offsets, self.shapes)

    def weights(self) -> Tensor:
        """(B, Q, M, L, P): softmax of the logits over levels and points."""
        return attention_weights(self.logits)


def sampling_locations(reference: Tensor, offsets: Tensor, shapes: Shapes) -> Tensor:
    """Offsets are cells of their level."""
    size = offsets.new_tensor([(width, height) for height, width in shapes])
    return reference[:, :, None, :, None, :] + offsets / size[None, None, None, :, None, :]


def attention_weights(logits: Tensor) -> Tensor:
    """Softmax over levels and points together."""
    return logits.flatten(3).softmax(dim=-1).view_as(logits)


def cell_centres(shapes: Shapes) -> Tensor:
    """(S, 2): where the queries of the encoder stand."""
    rows = [
        torch.stack(torch.meshgrid(torch.arange(w) + 0.5, torch.arange(h) + 0.5, indexing="xy"), -1).reshape(-1, 2)
        / torch.tensor([w, h])
        for h, w in shapes
    ]
    return torch.cat(rows)


def make(shapes: Shapes, queries: int | None, near: bool = True, batch: int = 1, device: str = "cpu") -> Inputs:
    """Random inputs in float32.

    Args:
        shapes: (height, width) of each level.
        queries: how many, anywhere in the image, as in a decoder; None is one per cell, as in the encoder.
        near: offsets are N(0, 2 cells), as in a trained model; otherwise points are uniform over the whole image,
            which no cache likes.
        batch: images.
        device: where.
    """
    cells = sum(height * width for height, width in shapes)
    points = cell_centres(shapes) if queries is None else torch.rand(queries, 2)
    reference = points[None, :, None].expand(batch, -1, len(shapes), -1).contiguous()
    shape = (batch, len(points), HEADS, len(shapes), POINTS)
    offsets = torch.randn(*shape, 2) * SIGMA
    if not near:
        size = torch.tensor([(width, height) for height, width in shapes])[None, None, None, :, None]
        offsets = (torch.rand(*shape, 2) - reference[:, :, None, :, None]) * size
    value = torch.randn(batch, cells, HEADS, CHANNELS)
    tensors = (value, reference, offsets, torch.randn(shape))
    return Inputs(shapes, *(tensor.to(device) for tensor in tensors))


def grid_sample_attention(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The formulation that every PyTorch implementation falls back to: one ``grid_sample`` per level, one sum.

    Arguments and result as ``dsct.ops.ms_deform_attn``.
    """
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    grids = 2 * locations - 1
    samples = []
    for level, cells in enumerate(value.split([height * width for height, width in shapes], dim=1)):
        maps = cells.flatten(2).transpose(1, 2).reshape(batch * heads, channels, *shapes[level])
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    flat_weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, len(shapes) * points)
    output = (torch.stack(samples, dim=-2).flatten(-2) * flat_weights).sum(-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2).contiguous()
