"""What stands for operators of torch and dsct in files for other programs computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dsct.export import standard_operators
from tests.comparison import assert_same


@pytest.mark.parametrize("coordinates", [2, 4])
def test_standard_operators_equal_the_operators(coordinates: int) -> None:
    sizes, heads, channels, points, queries = [(7, 5), (3, 9), (1, 2)], 3, 4, 2, 11
    value = torch.randn(2, sum(height * width for height, width in sizes), heads, channels, dtype=torch.float64)
    shape = (2, queries, heads, len(sizes), points)
    locations, weights = 1.4 * torch.rand(*shape, 2).double() - 0.2, torch.rand(shape).double()
    reference = torch.rand(2, queries, len(sizes), coordinates).double()
    offsets = torch.randn(*shape, 2).double()
    flat = [side for size in sizes for side in size]
    table, operators = standard_operators(), torch.ops.dsct
    for operator, arguments in (
        (operators.ms_deform_attn.default, (value, flat, locations, weights)),
        (operators.ms_deform_attn_fused.default, (value, flat, reference, offsets, weights)),
    ):
        assert_same(table[operator](*arguments), operator(*arguments), 1e-12)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_a_sort_by_ranks_equals_a_stable_sort(dim: int, descending: bool) -> None:
    """Most numbers are equal to others."""
    numbers = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (5, 3, 17)).astype(np.float64))
    sort = standard_operators()[torch.ops.aten.sort.stable]
    found = sort(numbers, stable=True, dim=dim, descending=descending)
    assert_same(found, tuple(numbers.sort(stable=True, dim=dim, descending=descending)))


@pytest.mark.parametrize("descending", [False, True])
def test_a_sort_gives_a_choice_of_the_best_no_ties(descending: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime's choice between equals, here the last, changes nothing."""
    topk = torch.Tensor.topk

    def other_choice(x: torch.Tensor, k: int, **options: bool) -> Any:
        found = topk(x.flip(-1), k, **options)
        return type(found)((found.values, x.shape[-1] - 1 - found.indices))

    numbers = torch.tensor([[2.0, 1.0, 2.0, 1.0, 2.0]])
    expected = tuple(numbers.sort(stable=True, descending=descending))
    monkeypatch.setattr(torch.Tensor, "topk", other_choice)
    assert_same(standard_operators()[torch.ops.aten.sort.stable](numbers, descending=descending), expected)


@pytest.mark.parametrize("dim", [0, -1])
def test_a_one_hot_product_equals_scatter_add(dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (4, 9) if dim else (9, 4)
    x, src = torch.rand(shape, generator=generator).double(), torch.rand(6, 4, generator=generator).double()
    index = torch.randint(9, (6, 4), generator=generator)
    index, src = (index.T, src.T) if dim else (index, src)
    found = standard_operators()[torch.ops.aten.scatter_add.default](x, dim, index, src)
    assert_same(found, x.scatter_add(dim, index, src), 1e-12)


def test_the_norm_equals_its_formula() -> None:
    x = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    norm = standard_operators()[torch.ops.aten.linalg_vector_norm.default]
    assert_same(norm(x, 2, [-1]), x.norm(dim=-1), 1e-12)
    assert_same(norm(x, 2, [0, 1], True), x.norm(dim=(0, 1), keepdim=True), 1e-12)
    assert norm(x, 1, [-1]) is NotImplemented
