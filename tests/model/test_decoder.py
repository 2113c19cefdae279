"""The decoder: outputs, gradients and traces equal the reference; what is in a trace; bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dsct
from tests.comparison import Shapes, assert_same, backward, gradients, randomise, small
from tests.reference.decoder import DSCTDecoder as ReferenceDecoder

SHAPES: Shapes = [(3, 5), (2, 3), (1, 2), (1, 1)]
CELLS, CONTEXT, SUBJECTS = 24, 9, 3
Inputs = dict[str, Tensor]


def twins(**overrides: Any) -> tuple[dsct.DSCTDecoder, ReferenceDecoder]:
    config = small(**overrides)
    decoder, reference = dsct.DSCTDecoder(config).double(), ReferenceDecoder(config).double()
    randomise(decoder)
    reference.load_state_dict(decoder.state_dict(), strict=True)
    return decoder, reference


def inputs(queries: int = CONTEXT + SUBJECTS, batch: int = 2) -> Inputs:
    """float64 inputs that want gradients, valid ratios in [0.7, 1] and a random padding mask."""
    wide = lambda rows: torch.randn(batch, rows, 32, dtype=torch.float64, requires_grad=True)  # noqa: E731
    return {
        "tgt": wide(queries),
        "query_pos": wide(queries),
        "src": wide(CELLS),
        "points": torch.rand(batch, queries, 2, dtype=torch.float64, requires_grad=True),
        "ratios": torch.rand(batch, 4, 2, dtype=torch.float64) * 0.3 + 0.7,
        "padding": torch.rand(batch, CELLS) < 0.2,
    }


def decode(decoder: dsct.DSCTDecoder, x: Inputs) -> tuple[Tensor, list[dict[str, Tensor | None]]]:
    arguments = (x["tgt"], x["points"], x["src"], SHAPES, None, x["ratios"], x.get("query_pos"), x.get("padding"))
    hidden, _, trace = decoder(*arguments, return_trace=True)
    return hidden, trace


def decode_reference(decoder: ReferenceDecoder, x: Inputs) -> tuple[Tensor, list[dict[str, Tensor | None]]]:
    output: tuple[Tensor, list[dict[str, Tensor | None]]] = decoder(
        x["tgt"], x["points"], x["src"], SHAPES, x["ratios"], x.get("query_pos"), x.get("padding")
    )
    return output


def assert_equals_the_reference(x: Inputs, **overrides: Any) -> None:
    """Outputs of all layers, traces, gradients of inputs and parameters."""
    decoder, reference = twins(**overrides)
    results = []
    for module, call in ((decoder, decode), (reference, decode_reference)):
        leaves = {name: tensor.detach().clone() for name, tensor in x.items()}
        for name in ("tgt", "query_pos", "src", "points"):
            if name in leaves:
                leaves[name].requires_grad_()
        hidden, trace = call(module, leaves)  # type: ignore[operator]
        backward(hidden)
        results.append((hidden, trace, _zeros_for_none(leaves), _zeros_for_none(dict(module.named_parameters()))))
    assert_same(*results, tolerance=1e-9)


def _zeros_for_none(leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients; one that nothing depends on is zero, whether autograd says zero or None."""
    return {n: torch.zeros_like(t, dtype=torch.float64) if t.grad is None else t.grad for n, t in leaves.items()}


VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded"},
    "one layer": {"dec_layers": 1},
    "late fusion": {"dec_layers": 3, "fusion_layers": (2,)},
    "early fusion": {"dec_layers": 3, "fusion_layers": (0, 1)},
    "fusion off": {"fusion_layers": ()},
    "K larger than M_c": {"k_spatial": 50, "k_semantic": 9},
    "K_sp = 0": {"k_spatial": 0, "aggregation": "split"},
    "K_sm = 0": {"k_semantic": 0},
    "K = 0": {"k_spatial": 0, "k_semantic": 0, "aggregation": "split"},
    "spatial only, K = 0": {"selection": ("spatial",), "k_spatial": 0, "aggregation": "split"},
    "semantic before spatial": {"selection": ("semantic", "spatial")},
    "one context query": {"num_context_queries": 1},
    "attentive, one layer fuses": {"reweighting": "attentive", "fusion_layers": (1,)},
    "one head, many points": {"nheads": 1, "dec_n_points": 7},
}


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_equals_the_reference(overrides: dict[str, Any]) -> None:
    assert_equals_the_reference(inputs(overrides.get("num_context_queries", CONTEXT) + SUBJECTS), **overrides)


@pytest.mark.parametrize("absent", [("query_pos",), ("padding",), ("query_pos", "padding")], ids=str)
def test_without_positions_or_mask(absent: tuple[str, ...]) -> None:
    assert_equals_the_reference({name: tensor for name, tensor in inputs().items() if name not in absent})


@pytest.mark.parametrize("aggregation", ["union", "split"])
@pytest.mark.parametrize("selection", [(), ("spatial",), ("spatial", "semantic")])
@pytest.mark.parametrize(
    ("context", "subjects"), [(0, 3), (9, 0), (9, 1), (9, 7)], ids=["no context", "no subject", "one", "seven"]
)
def test_any_number_of_queries(context: int, subjects: int, selection: tuple[str, ...], aggregation: str) -> None:
    x = inputs(context + subjects)
    assert_equals_the_reference(x, num_context_queries=context, selection=selection, aggregation=aggregation)


def test_no_images() -> None:
    decoder, _ = twins()
    hidden, points = decoder(
        *(inputs(batch=0)[name] for name in ("tgt", "points", "src")), SHAPES, None, torch.ones(1, 4, 2).double()
    )
    assert hidden.shape == (2, 0, 12, 32)
    assert points.shape == (2, 0, 12, 2)


def test_forward_returns_all_layers_and_the_reference_points() -> None:
    decoder, _ = twins(dec_layers=3)
    x = inputs()
    hidden, points = decoder(
        x["tgt"], x["points"], x["src"], torch.tensor(SHAPES), torch.tensor([0, 15, 21, 23]), x["ratios"]
    )
    assert hidden.shape == (3, 2, 12, 32)
    assert torch.equal(points, x["points"].expand(3, 2, 12, 2))
    expected, *_ = decoder(x["tgt"], x["points"], x["src"], SHAPES, None, x["ratios"], return_trace=True)
    assert torch.equal(hidden, expected)


def test_trace_of_layers_that_fuse_and_of_others() -> None:
    decoder, _ = twins(dec_layers=2, fusion_layers=(1,))
    _, (plain, fusing) = decode(decoder, inputs())
    for trace in (plain, fusing):
        assert trace["reference_points"].shape == (2, 12, 2)
        assert trace["sampling_locations"].shape == (2, 12, 4, 4, 3, 2)
        weights = trace["attention_weights"]
        assert weights.shape == (2, 12, 4, 4, 3)
        torch.testing.assert_close(weights.sum((-2, -1)), torch.ones(2, 12, 4, dtype=torch.float64))
    chosen = {"spatial_indices": (2, 3, 4), "semantic_indices": (2, 3, 3), "context_weights": (2, 3, 7)}
    assert {name: tuple(fusing[name].shape) for name in chosen} == chosen
    assert all(plain[name] is None for name in chosen)


def test_context_enters_subjects_only_where_a_layer_fuses() -> None:
    """Rows of context after the first layer are those of a decoder without fusion; rows of subjects are not."""
    fusing, _ = twins()
    plain = dsct.DSCTDecoder(small(fusion_layers=())).double()
    plain.load_state_dict(fusing.state_dict())
    x = inputs()
    (one, _), (other, _) = decode(fusing, x), decode(plain, x)
    assert torch.equal(one[0, :, :CONTEXT], other[0, :, :CONTEXT])
    assert not torch.allclose(one[0, :, CONTEXT:], other[0, :, CONTEXT:])


def test_layers_know_whether_they_fuse() -> None:
    fuses = lambda **kw: [layer.fuses for layer in dsct.DSCTDecoder(small(dec_layers=3, **kw)).layers]  # noqa: E731
    assert fuses() == [True, True, True]
    assert fuses(fusion_layers=(2, 0)) == [True, False, True]
    assert fuses(fusion_layers=()) == fuses(num_context_queries=0) == [False, False, False]


def test_attentive_weights_exist_only_where_they_are_used() -> None:
    names = lambda **kw: {n for n, _ in dsct.DSCTDecoder(small(**kw)).named_parameters() if "context_weights" in n}  # noqa: E731
    assert names() == names(reweighting="attentive", fusion_layers=()) == set()
    both = {f"layers.1.context_weights.{part}" for part in ("weight", "bias")}
    assert names(reweighting="attentive", fusion_layers=(1,)) == both


def test_dropout_only_in_training_and_from_torchs_generator() -> None:
    decoder = dsct.DSCTDecoder(small(dropout=0.5)).double()
    x = inputs()
    assert not torch.equal(decode(decoder, x)[0], decode(decoder, x)[0])
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(decode(decoder, x)[0])
    assert torch.equal(*results)
    plain = dsct.DSCTDecoder(small()).double()
    plain.load_state_dict(decoder.state_dict())
    assert torch.equal(decode(decoder.eval(), x)[0], decode(plain, x)[0])


BAD: dict[str, tuple[Callable[[Inputs], Inputs], str]] = {
    "rank of tgt": (lambda x: {**x, "tgt": x["tgt"][0]}, r"tgt must be \(B, Q, E\) with at least 9 context rows"),
    "too few rows": (lambda x: {**x, "tgt": x["tgt"][:, :8]}, "tgt must be .* with at least 9 context rows"),
    "queries of points": (lambda x: {**x, "points": x["points"][:, 1:]}, "reference_points must be"),
    "points as boxes": (
        lambda x: {**x, "points": x["points"].repeat(1, 1, 2)},
        r"reference_points must be \(B, Q, 2\)",
    ),
    "rank of points": (lambda x: {**x, "points": x["points"][0]}, r"reference_points must be \(B, Q, 2\)"),
    "queries of positions": (lambda x: {**x, "query_pos": x["query_pos"][:, 1:]}, "position encoding must be"),
    "images of src": (lambda x: {**x, "src": x["src"][:1]}, r"src must be \(B, S, E\)"),
    "channels of src": (lambda x: {**x, "src": x["src"][..., :16]}, r"src must be \(B, S, E\)"),
    "cells of mask": (lambda x: {**x, "padding": x["padding"][:, 1:]}, r"padding_mask must be \(B, S\)"),
    "fewer points than context": (lambda x: {**x, "points": x["points"][:, :3]}, "reference_points must be"),
    "images of points": (lambda x: {**x, "points": x["points"][:1]}, "reference_points must be"),
    "images of positions": (lambda x: {**x, "query_pos": x["query_pos"].repeat(2, 1, 1)}, "of 1 or B = 2 images"),
    "rank of ratios": (lambda x: {**x, "ratios": x["ratios"][0]}, r"valid_ratios must be \(B, L, 2\)"),
    "images of ratios": (lambda x: {**x, "ratios": x["ratios"].repeat(2, 1, 1)}, "valid_ratios must be of 1 or B"),
    "levels of ratios": (lambda x: {**x, "ratios": x["ratios"][:, 1:]}, "reference_points must be|valid_ratios"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_bad_shapes_are_named(change: Callable[[Inputs], Inputs], message: str) -> None:
    decoder, _ = twins()
    with pytest.raises(ValueError, match=message):
        decode(decoder, change(inputs()))


def test_levels_are_checked() -> None:
    decoder, _ = twins()
    x = inputs()
    with pytest.raises(ValueError, match="DSCTDecoder: level_start_index must be"):
        decoder(x["tgt"], x["points"], x["src"], SHAPES, [0, 1, 2, 3], x["ratios"])


def test_gradients_reach_every_parameter() -> None:
    decoder, _ = twins(reweighting="attentive")
    backward(decode(decoder, inputs())[0])
    assert not [name for name, gradient in gradients(decoder).items() if gradient is None or not gradient.any()]
