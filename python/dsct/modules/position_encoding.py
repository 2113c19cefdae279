"""Masks, position encoding, valid ratios and flattening of the levels.

The native form, with its explanation, is ``src/model/position_encoding.rs``; both compute the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import dsct._dsct as _dsct
from dsct.modules.block import coordinate_dtype, pair
from dsct.ops import Shapes

Levels = tuple[Tensor, Tensor, Tensor | None, Shapes, Tensor]


@pair(native=_dsct.flatten_levels)
def flatten_levels(maps: list[Tensor], mask: Tensor | None, level_embed: Tensor) -> Levels:
    """The levels one after another, as encoder and decoder take them.

    Args:
        maps: L of (B, E, H_l, W_l).
        mask: (B, H, W) bool, True = padding.
        level_embed: (L, E).

    Returns:
        Maps (B, S, E), position encoding plus level embedding (B or 1, S, E), padding mask (B, S) or None, (height,
        width) of each level, valid ratios (B or 1, L, 2) as (width, height).
    """
    first = maps[0]
    src, pos, padding, ratios = [], [], [], []
    shapes: Shapes = [(map_.shape[2], map_.shape[3]) for map_ in maps]
    for map_, (height, width), embedding in zip(maps, shapes, level_embed.unbind(), strict=True):
        no_padding = torch.zeros((1, height, width), dtype=torch.bool, device=map_.device)
        cells = no_padding if mask is None else _level_mask(mask, height, width)
        code = _sine_position_encoding(cells, first.shape[1], coordinate_dtype(first.dtype))
        src.append(map_.flatten(2).transpose(1, 2))
        pos.append(code.flatten(1, 2).to(first.dtype) + embedding)
        ratios.append(_valid_ratio(cells, coordinate_dtype(first.dtype)))
        padding.append(cells.flatten(1))
    padding_mask = None if mask is None else torch.cat(padding, dim=1)
    return torch.cat(src, dim=1), torch.cat(pos, dim=1), padding_mask, shapes, torch.stack(ratios, dim=1)


def _level_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) -> (B, height, width): cell (i, j) takes pixel (⌊i · H / height⌋, ⌊j · W / width⌋)."""
    rows = torch.arange(height, device=mask.device) * mask.shape[1] // height
    columns = torch.arange(width, device=mask.device) * mask.shape[2] // width
    return mask.index_select(1, rows).index_select(2, columns)


def _sine_position_encoding(mask: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """(B, H, W) -> (B, H, W, E): the first half of the channels for the place in the column, then in the row."""
    half = channels // 2
    # From numbers, so that a file has them as constants of its own type.
    powers = [math.exp(index * (-2.0 * math.log(10000.0) / half)) for index in range(half // 2)]
    frequency = torch.tensor(powers, dtype=dtype, device=mask.device)
    codes = []
    for axis in (1, 2):
        count = (~mask).to(dtype).cumsum(axis)
        angle = (count - 0.5) / (count.narrow(axis, -1, 1) + 1e-6) * (2.0 * math.pi)
        angle = angle[..., None] * frequency
        codes.append(torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2))
    return torch.cat(codes, dim=-1)


def _valid_ratio(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, H, W) -> (B, 2): the unpadded part of the first row and of the first column."""
    valid = (~mask).to(dtype)
    return torch.stack((valid[:, 0].mean(dim=1), valid[:, :, 0].mean(dim=1)), dim=-1)
