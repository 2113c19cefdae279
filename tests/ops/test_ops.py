"""The Python face of the operators: how level sizes are accepted, and bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dsct

SHAPES = [(4, 3), (2, 3)]


def call(shapes: Any = SHAPES, starts: Any = (0, 12), **changes: Any) -> torch.Tensor:
    torch.manual_seed(0)
    arguments = {
        "value": torch.randn(1, 18, 2, 4),
        "sampling_locations": torch.rand(1, 5, 2, 2, 3, 2),
        "attention_weights": torch.rand(1, 5, 2, 2, 3),
    }
    value, locations, weights = {**arguments, **changes}.values()
    return dsct.ops.ms_deform_attn(value, shapes, starts, locations, weights)


@pytest.mark.parametrize(
    "shapes", [SHAPES, tuple(SHAPES), torch.tensor(SHAPES), torch.tensor(SHAPES, dtype=torch.int32)]
)
@pytest.mark.parametrize("starts", [None, [0, 12], torch.tensor([0, 12])])
def test_level_sizes_in_any_form(shapes: Any, starts: Any) -> None:
    assert torch.equal(call(shapes, starts), call())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"starts": [0, 11]}, ValueError, r"level_start_index must be \[0, 12\], got \[0, 11\]"),
        ({"shapes": [4, 3, 2, 3]}, ValueError, "L pairs"),
        ({"shapes": torch.tensor([4, 3, 2, 3])}, ValueError, "L pairs"),
        ({"shapes": torch.tensor(SHAPES).float()}, TypeError, "integers"),
        ({"shapes": [(4.0, 3.0), (2.0, 3.0)]}, TypeError, "spatial_shapes must hold integers"),
        ({"shapes": [("4", 3), (2, 3)]}, TypeError, "spatial_shapes must hold integers"),
        ({"shapes": [(4, 3), (2, 4)], "starts": None}, ValueError, "more than|cover"),
        ({"value": [1.0]}, TypeError, "value must be a torch.Tensor, got list"),
        ({"attention_weights": None}, TypeError, "attention_weights must be a torch.Tensor"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(**changes)


def fused(shapes: Any = SHAPES, **changes: Any) -> torch.Tensor:
    torch.manual_seed(0)
    arguments = {
        "value": torch.randn(1, 18, 2, 4),
        "reference_points": torch.rand(1, 5, 2, 2),
        "sampling_offsets": torch.randn(1, 5, 2, 2, 3, 2),
        "logits": torch.randn(1, 5, 2, 2, 3),
    }
    value, reference, offsets, logits = {**arguments, **changes}.values()
    return dsct.ops.ms_deform_attn_fused(value, shapes, reference, offsets, logits)


@pytest.mark.parametrize("shapes", [tuple(SHAPES), torch.tensor(SHAPES), torch.tensor(SHAPES, dtype=torch.int32)])
def test_fused_takes_level_sizes_in_any_form(shapes: Any) -> None:
    assert torch.equal(fused(shapes), fused())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shapes": [4, 3, 2, 3]}, ValueError, "ms_deform_attn_fused: spatial_shapes must be L pairs"),
        ({"shapes": torch.tensor(SHAPES).float()}, TypeError, "ms_deform_attn_fused: spatial_shapes must hold int"),
        ({"shapes": [(4, 3), (2, 4)]}, ValueError, "ms_deform_attn_fused: spatial_shapes cover more than the 18"),
        ({"value": [1.0]}, TypeError, "ms_deform_attn_fused: value must be a torch.Tensor, got list"),
        ({"reference_points": 0.5}, TypeError, "reference_points must be a torch.Tensor, got float"),
        ({"sampling_offsets": None}, TypeError, "sampling_offsets must be a torch.Tensor, got NoneType"),
        ({"logits": (1, 2)}, TypeError, "logits must be a torch.Tensor, got tuple"),
    ],
)
def test_bad_input_of_fused_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fused(**changes)


@pytest.mark.parametrize("fused", [False, True])
def test_code_that_calls_the_operator_compiles_without_a_graph_break(fused: bool) -> None:
    shapes = [(4, 6), (2, 3)]
    value, inner = torch.randn(2, 30, 2, 8), torch.randn(2, 5, 2, 2, 3)
    points, offsets = torch.rand(2, 5, 2, 2), torch.randn(2, 5, 2, 2, 3, 2)

    def plain(value: torch.Tensor, offsets: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        if fused:
            return dsct.ops.ms_deform_attn_fused(value.sin(), shapes, points, offsets, inner).cos()
        return dsct.ops.ms_deform_attn(value.sin(), shapes, None, offsets.sigmoid(), inner).cos()

    inputs = [tensor.requires_grad_() for tensor in (value, offsets, inner)]
    results = []
    for function in (plain, torch.compile(plain, backend="aot_eager", fullgraph=True)):
        out = function(*inputs)
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    torch.testing.assert_close(results[1], results[0])


def test_vmap_over_the_operator_is_a_loop_over_calls() -> None:
    torch.manual_seed(0)
    value, locations, weights = (
        torch.randn(3, 1, 24, 2, 8),
        torch.rand(3, 1, 5, 2, 1, 4, 2),
        torch.rand(3, 1, 5, 2, 1, 4),
    )

    def attend(value: torch.Tensor, locations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return dsct.ops.ms_deform_attn(value, [(4, 6)], None, locations, weights)

    expected = torch.stack([attend(*one) for one in zip(value, locations, weights, strict=True)])
    assert torch.equal(torch.func.vmap(attend)(value, locations, weights), expected)
    shared = torch.func.vmap(attend, in_dims=(None, 0, 0))(value[0], locations, weights)
    assert torch.equal(shared[1], attend(value[0], locations[1], weights[1]))
