"""Aggregation: properties that hold whatever the weights. Values are compared in test_dsct.py, variant by variant."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dsct
from comparison import assert_same, randomise, small
from dsct import _dsct

SHAPES = [(3, 4), (2, 2), (1, 1), (1, 1)]
RATIOS = torch.ones(1, 4, 2, dtype=torch.float64)


def decoder(**overrides: Any) -> dsct.DSCTDecoder:
    module = dsct.DSCTDecoder(small(**overrides)).double()
    randomise(module)
    return module


def queries(context: int = 9, subjects: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    total = context + subjects
    points = torch.rand(2, total, 2, dtype=torch.float64)
    return torch.randn(2, total, 32, dtype=torch.float64), points, torch.randn(2, 18, 32, dtype=torch.float64)


@pytest.mark.parametrize("aggregation", ["union", "split"])
@pytest.mark.parametrize("reweighting", ["semantic", "equal", "spatial"])
def test_order_of_context_queries_does_not_matter(aggregation: str, reweighting: str) -> None:
    module = decoder(aggregation=aggregation, reweighting=reweighting)
    tgt, points, src = queries()
    order = torch.cat([torch.randperm(9), torch.arange(9, 12)])
    hidden, _ = module(tgt, points, src, SHAPES, None, RATIOS)
    shuffled, _ = module(tgt[:, order], points[:, order], src, SHAPES, None, RATIOS)
    assert_same(shuffled, hidden[:, :, order], 1e-9)


def test_nearest_first_and_ties_by_lower_index() -> None:
    points = torch.tensor([[[0.5, 0.9], [0.5, 0.1], [0.4, 0.5], [0.5, 0.9], [0.5, 0.5]]])
    config = small(num_context_queries=4, num_subject_queries=1, k_spatial=4)
    distance, indices = _dsct.spatial_relation(config.native, points, torch.ones(1, 4, 2))
    torch.testing.assert_close(distance[0, 0], torch.tensor([0.4, 0.4, 0.1, 0.4]))
    assert indices[0, 0].tolist() == [2, 0, 1, 3] or indices[0, 0].tolist() == [2, 0, 3, 1]
    tied = torch.full((1, 5, 2), 0.5)
    assert _dsct.spatial_relation(config.native, tied, torch.ones(1, 4, 2))[1][0, 0].tolist() == [0, 1, 2, 3]


def test_padded_frame_depends_on_the_padding_and_valid_does_not() -> None:
    points = torch.rand(1, 12, 2)
    ratios = torch.tensor([[[0.5, 1.0]] * 4])
    for frame, same in (("valid", True), ("padded", False)):
        config = small(spatial_frame=frame)
        padded, _ = _dsct.spatial_relation(config.native, points, ratios)
        plain, _ = _dsct.spatial_relation(config.native, points, torch.ones(1, 4, 2))
        assert torch.equal(padded, plain) == same


def test_weights_and_sizes_in_the_trace() -> None:
    tgt, points, src = queries()
    for aggregation, total in (("union", 1.0), ("split", 2.0)):
        _, trace = decoder(aggregation=aggregation).decode(tgt, points, src, SHAPES, None, RATIOS)
        assert trace[0]["spatial_indices"].shape == (2, 3, 4)
        assert trace[0]["semantic_indices"].shape == (2, 3, 3)
        weights = trace[1]["context_weights"]
        torch.testing.assert_close(weights.sum(-1), torch.full((2, 3), total, dtype=torch.float64))


def test_lowest_and_highest_take_opposite_ends() -> None:
    tgt, points, src = queries()
    low = decoder(semantic_order="lowest", k_semantic=9)
    high = dsct.DSCTDecoder(small(semantic_order="highest", k_semantic=9)).double()
    high.load_state_dict(low.state_dict())
    first, second = (m.decode(tgt, points, src, SHAPES, None, RATIOS)[1][0] for m in (low, high))
    assert torch.equal(first["semantic_indices"], second["semantic_indices"].flip(-1))


def test_too_few_rows_are_refused() -> None:
    tgt, points, src = queries()
    with pytest.raises(ValueError, match="at least 9 context rows"):
        decoder()(tgt[:, :8], points[:, :8], src, SHAPES, None, RATIOS)
