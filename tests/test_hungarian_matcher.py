"""Assignment: as cheap as SciPy's on thousands of matrices, the same in batches as one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import dsct
from comparison import small
from reference.criterion import HungarianMatcher as ReferenceMatcher


def case(queries: int, subjects: int, seed: int, grid: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Values on a coarse grid, so that equal costs are common."""
    generator = torch.Generator().manual_seed(seed)
    number = lambda *shape: torch.randint(0, grid, shape, generator=generator).double() / grid  # noqa: E731
    outputs = {"pred_logits": number(1, queries, 5) * 4 - 2, "pred_boxes": number(1, queries, 4) * 0.5 + 0.1}
    labels = torch.randint(0, 5, (subjects,), generator=generator)
    return outputs, {"labels": labels, "boxes": number(subjects, 4) * 0.5 + 0.1}


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 10**6), st.sampled_from([2, 3, 1000]))
def test_cost_equals_scipy(queries: int, subjects: int, seed: int, grid: int) -> None:
    config = small()
    outputs, target = case(queries, subjects, seed, grid)
    query, index = dsct.HungarianMatcher(config)(outputs, [target])[0]
    cost = ReferenceMatcher(config).cost(outputs["pred_logits"][0], outputs["pred_boxes"][0], target).numpy()
    assert len(query) == len(index) == min(queries, subjects)
    assert query.tolist() == sorted(set(query.tolist()))
    assert len(set(index.tolist())) == len(index)
    rows, columns = linear_sum_assignment(cost)
    assert cost[query.numpy(), index.numpy()].sum() == pytest.approx(cost[rows, columns].sum(), abs=1e-9)


def test_thousands_of_matrices_in_one_call() -> None:
    config = small(num_subject_queries=7)
    pairs = [case(7, subjects, seed, 4) for seed, subjects in enumerate([0, 1, 3, 7, 11] * 500)]
    outputs = {key: torch.cat([output[key] for output, _ in pairs]) for key in ("pred_logits", "pred_boxes")}
    matches = dsct.HungarianMatcher(config)(outputs, [target for _, target in pairs])
    reference = ReferenceMatcher(config)
    for (output, target), (query, index) in zip(pairs, matches, strict=True):
        cost = reference.cost(output["pred_logits"][0], output["pred_boxes"][0], target).numpy()
        rows, columns = linear_sum_assignment(cost)
        assert cost[query.numpy(), index.numpy()].sum() == pytest.approx(cost[rows, columns].sum(), abs=1e-9)
    alone = dsct.HungarianMatcher(config)(pairs[8][0], [pairs[8][1]])[0]
    assert all(torch.equal(a, b) for a, b in zip(alone, matches[8], strict=True))
