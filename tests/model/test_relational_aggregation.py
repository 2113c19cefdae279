"""Aggregation: every combination of its switches equals the reference, and properties that hold for all of them."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import dsct
from dsct import _dsct
from tests.comparison import assert_same, backward, gradients, randomise, small
from tests.reference.decoder import DSCTDecoder as ReferenceDecoder

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
@pytest.mark.parametrize("reweighting", ["semantic", "equal", "spatial", "attentive"])
@pytest.mark.parametrize("selection", [(), ("spatial",), ("semantic",), ("spatial", "semantic")], ids=str)
def test_every_combination_equals_the_reference(aggregation: str, reweighting: str, selection: tuple[str, ...]) -> None:
    ratios = torch.rand(2, 4, 2, dtype=torch.float64) * 0.3 + 0.7
    for order, frame, layers in itertools.product(("lowest", "highest"), ("valid", "padded"), (None, (1,))):
        switches = {
            "aggregation": aggregation, "reweighting": reweighting, "selection": selection, "semantic_order": order,
            "spatial_frame": frame, "fusion_layers": layers,
        }  # fmt: skip
        ours = decoder(**switches)
        theirs = ReferenceDecoder(small(**switches)).double()
        theirs.load_state_dict(ours.state_dict(), strict=True)
        tgt, points, src = queries()
        results = []
        traced = functools.partial(ours, return_trace=True)
        for module, arguments in ((traced, (SHAPES, None, ratios)), (theirs, (SHAPES, ratios))):
            leaves = [tensor.clone().requires_grad_() for tensor in (tgt, points, src)]
            hidden, *_, trace = module(*leaves, *arguments)
            backward(hidden)
            results.append((hidden, trace, [leaf.grad for leaf in leaves]))
        assert_same(*results, tolerance=1e-9)
        assert_same(gradients(ours), gradients(theirs), 1e-9)


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
    points = torch.tensor([[[0.5, 0.75], [0.5, 0.25], [0.375, 0.5], [0.5, 0.75], [0.5, 0.5]]])
    config = small(num_context_queries=4, num_subject_queries=1, k_spatial=4)
    distance, indices = _dsct.spatial_relation(config.native, points, torch.ones(1, 4, 2))
    assert distance[0, 0].tolist() == [0.25, 0.25, 0.125, 0.25]
    assert indices[0, 0].tolist() == [2, 0, 1, 3]
    tied = torch.full((1, 5, 2), 0.5)
    assert _dsct.spatial_relation(config.native, tied, torch.ones(1, 4, 2))[1][0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("order", ["lowest", "highest"])
def test_equally_relevant_context_is_taken_by_lower_index(order: str) -> None:
    """All embeddings are made the same whole numbers, so that their dot products are equal to the last bit."""
    module = decoder(semantic_order=order, dec_layers=1)
    with torch.no_grad():
        module.layers[0].norm1.weight.zero_()
        module.layers[0].norm1.bias.copy_(torch.arange(32) - 16)
    tgt, points, src = queries()
    _, _, trace = module(tgt, points, src, SHAPES, None, RATIOS, return_trace=True)
    assert trace[0]["semantic_indices"].tolist() == [[[0, 1, 2]] * 3] * 2


def test_a_context_query_chosen_twice_counts_twice() -> None:
    """With one context query in both sets of a union, its two weights are a half each and its sum is itself."""
    module = decoder(num_context_queries=1)
    tgt, points, src = queries(context=1)
    hidden, _, trace = module(tgt, points, src, SHAPES, None, RATIOS, return_trace=True)
    assert trace[0]["context_weights"].tolist() == [[[0.5, 0.5]] * 3] * 2
    single = dsct.DSCTDecoder(small(num_context_queries=1, selection=())).double()
    single.load_state_dict(module.state_dict())
    assert_same(single(tgt, points, src, SHAPES, None, RATIOS)[0], hidden, 1e-12)


def test_the_choice_carries_no_gradient_but_distances_do() -> None:
    tgt, points, src = queries()
    for reweighting, moved in (("semantic", False), ("spatial", True)):
        leaf = points.clone().requires_grad_()
        config = small(reweighting=reweighting)
        distance, indices = _dsct.spatial_relation(config.native, leaf, RATIOS)
        assert distance.requires_grad
        assert not indices.requires_grad
        # Sampling around the points is cut off, so that only the distances can bring a gradient.
        module = decoder(reweighting=reweighting, dec_layers=1)
        layer = module.layers[0]
        fixed = points[:, :, None] * RATIOS[:, None]
        out, _ = layer(tgt, None, fixed, src, SHAPES, None, (distance, indices))
        (gradient,) = torch.autograd.grad(out.square().sum(), leaf, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) == moved


def test_coinciding_points_have_a_finite_gradient() -> None:
    tgt, _, src = queries()
    points = torch.full((2, 12, 2), 0.5, dtype=torch.float64, requires_grad=True)
    decoder(reweighting="spatial")(tgt, points, src, SHAPES, None, RATIOS)[0].sum().backward()
    assert points.grad.isfinite().all()


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
        _, _, trace = decoder(aggregation=aggregation)(tgt, points, src, SHAPES, None, RATIOS, return_trace=True)
        assert trace[0]["spatial_indices"].shape == (2, 3, 4)
        assert trace[0]["semantic_indices"].shape == (2, 3, 3)
        weights = trace[1]["context_weights"]
        torch.testing.assert_close(weights.sum(-1), torch.full((2, 3), total, dtype=torch.float64))


def test_lowest_and_highest_take_opposite_ends() -> None:
    tgt, points, src = queries()
    low = decoder(semantic_order="lowest", k_semantic=9)
    high = dsct.DSCTDecoder(small(semantic_order="highest", k_semantic=9)).double()
    high.load_state_dict(low.state_dict())
    first, second = (m(tgt, points, src, SHAPES, None, RATIOS, return_trace=True)[2][0] for m in (low, high))
    assert torch.equal(first["semantic_indices"], second["semantic_indices"].flip(-1))


def test_too_few_rows_are_refused() -> None:
    tgt, points, src = queries()
    with pytest.raises(ValueError, match="at least 9 context rows"):
        decoder()(tgt[:, :8], points[:, :8], src, SHAPES, None, RATIOS)
