"""Pairs of boxes of one image that may be the same person: compared only where they can overlap that much."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torchvision.ops import box_iou

OVERLAP = 0.7  # IoU above which two boxes of an image may be the same person
ROWS = 64  # boxes that are compared with others at a time: an image may hold tens of thousands
_ROUNDING = 0.01  # of a width
_MOST_SOUGHT = 100_000  # pairs, in which those to name are sought


@dataclass
class Pairs:
    """Pairs of boxes of one kind.

    Attributes:
        count: of all.
        named: (first, second, IoU) of a few, numbered from 0: the first ones, unless there are very many.
    """

    count: int = 0
    named: list[tuple[int, int, float]] = field(default_factory=list)


def alike_boxes(boxes: Tensor, most_named: int) -> tuple[Pairs, Pairs]:
    """Counts the pairs of an IoU above `OVERLAP`, and names some of them.

    Such boxes begin at nearly the same x: each is compared with those to its right only as far as that goes.

    Args:
        boxes: (n, 4) ``x1 y1 x2 y2``.
        most_named: pairs of each kind that are named, all where there are no more.

    Returns:
        Pairs of equal boxes, and pairs of others.

    Example:
        >>> equal, close = alike_boxes(torch.tensor([[0.0, 0, 9, 9], [50, 50, 60, 60], [0, 0, 9, 9]]), most_named=5)
        >>> equal.named, close.count
        ([(0, 2, 1.0)], 0)
    """
    equal, close = Pairs(), Pairs()
    order = boxes[:, 0].argsort(stable=True)
    boxes = boxes[order]
    left = boxes[:, 0].double()
    # The overlap, x2 - x1 of the box to the right at most, is more than this share of the width.
    reach = left + (1 - OVERLAP + _ROUNDING) * (boxes[:, 2] - boxes[:, 0])
    for start in range(0, len(boxes) - 1, ROWS):
        rows = boxes[start : start + ROWS]
        end = int(torch.searchsorted(left, reach[start : start + ROWS].max(), right=True))
        others = boxes[start:end]
        overlap = box_iou(rows, others).triu(diagonal=1)
        found = overlap > OVERLAP
        if not found.any():
            continue
        same = found.clone()
        for side in range(4):
            same &= rows[:, side, None] == others[None, :, side]
        for pairs, mask in ((equal, same), (close, found & ~same)):
            if pairs.count < _MOST_SOUGHT:
                pairs.named = sorted(pairs.named + _named(mask, overlap, order[start:end], most_named))[:most_named]
            pairs.count += int(mask.sum())
    return equal, close


def _named(mask: Tensor, overlap: Tensor, numbers: Tensor, most: int) -> list[tuple[int, int, float]]:
    """The first pairs; `numbers` are those of the boxes of the columns, of which the first are the rows."""
    at = mask.nonzero()
    pairs = numbers[at].sort(dim=1).values
    chosen = (pairs[:, 0] * (int(numbers.max()) + 1) + pairs[:, 1]).argsort()[:most]
    iou = overlap[at[chosen, 0], at[chosen, 1]].tolist()
    return [(first, second, value) for (first, second), value in zip(pairs[chosen].tolist(), iou, strict=True)]
