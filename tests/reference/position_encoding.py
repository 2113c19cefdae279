"""Masks of the feature levels, 2-D sine position encoding and valid ratios (Deformable DETR, appendix A.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def level_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """The mask of a feature map: cell (i, j) takes pixel (floor(i * H / H_l), floor(j * W / W_l)).

    In whole numbers, so that no rounding of H / H_l can move a cell to its neighbour.

    Args:
        mask: (B, H, W) bool, True = padding.
        height: H_l.
        width: W_l.

    Returns:
        (B, H_l, W_l) bool.
    """
    rows = torch.arange(height, device=mask.device) * mask.shape[1] // height
    columns = torch.arange(width, device=mask.device) * mask.shape[2] // width
    return mask[:, rows][:, :, columns]


def sine_position_encoding(mask: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of a cell's place in the unpadded part of the map.

    With y the number of unpadded cells from the top of the column down to the cell, and Y that number at the bottom::

        angle = 2 pi (y - 1/2) / (Y + 1e-6)
        code[2i], code[2i + 1] = sin(angle / 10000^(4i / E)), cos(angle / 10000^(4i / E))    i = 0 ... E/4 - 1

    and the same for x along the row. The E/2 channels of y come first.

    Args:
        mask: (B, H_l, W_l) bool, True = padding.
        channels: E.
        dtype: dtype of the result and of the computation.

    Returns:
        (B, E, H_l, W_l).
    """
    half = channels // 2
    index = torch.arange(half, device=mask.device)
    period = 10000.0 ** (2 * (index // 2).to(dtype) / half)
    codes = []
    for axis in (1, 2):
        count = (~mask).to(dtype).cumsum(axis)
        last = count.narrow(axis, -1, 1)
        angle = ((count - 0.5) / (last + 1e-6) * (2 * math.pi))[..., None] / period
        codes.append(torch.where(index % 2 == 0, angle.sin(), angle.cos()))
    return torch.cat(codes, dim=-1).permute(0, 3, 1, 2)


def valid_ratio(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Unpadded part of a map, r = (cells of the first row / W_l, cells of the first column / H_l).

    Args:
        mask: (B, H_l, W_l) bool, True = padding.
        dtype: dtype of the result.

    Returns:
        (B, 2) as (width, height).
    """
    _, height, width = mask.shape
    row, column = (~mask[:, 0, :]).sum(dim=1).to(dtype), (~mask[:, :, 0]).sum(dim=1).to(dtype)
    return torch.stack((row / width, column / height), dim=-1)
