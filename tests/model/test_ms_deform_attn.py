"""The attention module: equal to the reference, boxes as reference points, bad input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import dsct
from tests.comparison import assert_same, randomise
from tests.reference.deform_attn import MSDeformAttn as ReferenceAttention

SHAPES = [(4, 6), (2, 3)]


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    query, src = torch.randn(2, 5, 32, dtype=torch.float64), torch.randn(2, 30, 32, dtype=torch.float64)
    return query, torch.rand(2, 5, 2, 2, dtype=torch.float64), src, torch.rand(2, 30) < 0.3


def module() -> dsct.MSDeformAttn:
    attention = dsct.MSDeformAttn(d_model=32, n_levels=2, n_heads=4, n_points=3).double()
    randomise(attention)
    return attention


@pytest.mark.parametrize("padded", [False, True])
def test_equals_the_reference(padded: bool) -> None:
    attention, reference = module(), ReferenceAttention(32, 2, 4, 3).double()
    reference.load_state_dict(attention.state_dict())
    query, points, src, mask = inputs()
    padding = mask if padded else None
    ours = attention(query, points, src, torch.tensor(SHAPES), torch.tensor([0, 24]), padding)
    assert_same(ours, reference(query, points, src, SHAPES, padding)[0], 1e-12)


def test_boxes_scale_the_offsets() -> None:
    """A box of (2P/W_l, 2P/H_l) turns offset / P · size / 2 into offset / (W_l, H_l), the rule for points."""
    attention = module()
    query, points, src, _ = inputs()
    sizes = torch.tensor([[6 / w, 6 / h] for h, w in SHAPES], dtype=torch.float64).expand(2, 5, 2, 2)
    boxes = torch.cat([points, sizes], -1)
    assert_same(attention(query, boxes, src, SHAPES, None), attention(query, points, src, SHAPES, None), 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, p, s: (q[0], p, s, SHAPES), "query must be"),
        (lambda q, p, s: (q, p[:, :4], s, SHAPES), "reference_points must be"),
        (lambda q, p, s: (q, p[..., :1], s, SHAPES), "reference_points must be"),
        (lambda q, p, s: (q, p.repeat(2, 1, 1, 1), s, SHAPES), "reference_points must be of 1 or B = 2 images"),
        (lambda q, p, s: (q[..., :16], p, s[..., :16], SHAPES), "query must be"),
        (lambda q, p, s: (q, p, s[:1], SHAPES), "src must be"),
        (lambda q, p, s: (q, p, s, SHAPES[:1]), "input_spatial_shapes must have 2 levels"),
        (lambda q, p, s: (q, p, s, [(4, 6), (2, 4)]), "spatial_shapes"),
    ],
)
def test_bad_input_is_named(change: object, message: str) -> None:
    query, points, src, _ = inputs()
    query, points, src, shapes = change(query, points, src)
    with pytest.raises(ValueError, match=message):
        module()(query, points, src, shapes, None)


def test_mask_must_be_bool() -> None:
    query, points, src, mask = inputs()
    with pytest.raises(TypeError, match="MSDeformAttn: padding_mask must be bool, got Float"):
        module()(query, points, src, SHAPES, None, mask.float())


def test_width_must_be_divisible_by_heads() -> None:
    with pytest.raises(ValueError, match="d_model must be divisible by n_heads = 7"):
        dsct.MSDeformAttn(d_model=32, n_heads=7)
