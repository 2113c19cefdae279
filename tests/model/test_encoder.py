"""The encoder: outputs and gradients equal the reference, levels and masks in every form, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dsct
from dsct import _dsct
from tests.comparison import Shapes, assert_same, backward, gradients, randomise, small
from tests.reference.encoder import DeformableEncoder as ReferenceEncoder
from tests.reference.encoder import encoder_reference_points

SHAPES: Shapes = [(3, 5), (2, 3), (1, 2), (1, 1)]
CELLS = 24


def twins(**overrides: Any) -> tuple[dsct.DeformableEncoder, ReferenceEncoder]:
    config = small(enc_layers=2, **overrides)
    encoder, reference = dsct.DeformableEncoder(config).double(), ReferenceEncoder(config).double()
    randomise(encoder)
    reference.load_state_dict(encoder.state_dict(), strict=True)
    return encoder, reference


def inputs(batch: int = 2, cells: int = CELLS, levels: int = 4) -> dict[str, Tensor]:
    """float64 ``src`` and ``pos`` that want gradients, valid ratios in [0.7, 1] and a random padding mask."""
    return {
        "src": torch.randn(batch, cells, 32, dtype=torch.float64, requires_grad=True),
        "pos": torch.randn(batch, cells, 32, dtype=torch.float64, requires_grad=True),
        "ratios": torch.rand(batch, levels, 2, dtype=torch.float64) * 0.3 + 0.7,
        "padding": torch.rand(batch, cells) < 0.2,
    }


@pytest.mark.parametrize("positioned", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("overrides", [{}, {"nheads": 1, "enc_n_points": 5}, {"hidden_dim": 96, "nheads": 8}], ids=str)
def test_outputs_and_gradients_equal_the_reference(overrides: dict[str, int], padded: bool, positioned: bool) -> None:
    ours, theirs = twins(**overrides)
    given = inputs()
    width = overrides.get("hidden_dim", 32)
    results = []
    for encoder, start in ((ours, (None,)), (theirs, ())):
        torch.manual_seed(1)
        src, pos = (torch.randn(2, CELLS, width, dtype=torch.float64, requires_grad=True) for _ in range(2))
        padding = given["padding"] if padded else None
        out = encoder(src, SHAPES, *start, given["ratios"], pos if positioned else None, padding)
        backward(out)
        results.append((out, src.grad, pos.grad, gradients(encoder)))
    assert_same(*results, tolerance=1e-9)


@pytest.mark.parametrize("shapes", [[(4, 6)], [(1, 1), (1, 1)], [(1, 7), (9, 1), (2, 2)]], ids=str)
def test_any_levels(shapes: Shapes) -> None:
    ours, theirs = twins(num_feature_levels=len(shapes))
    given = inputs(cells=sum(h * w for h, w in shapes), levels=len(shapes))
    expected = theirs(given["src"], shapes, given["ratios"], given["pos"], given["padding"])
    assert_same(ours(given["src"], shapes, None, given["ratios"], given["pos"], given["padding"]), expected)


def test_reference_points_equal_the_reference() -> None:
    ratios = inputs()["ratios"]
    assert_same(_dsct.encoder_reference_points(SHAPES, ratios), encoder_reference_points(SHAPES, ratios), 1e-15)
    centre = _dsct.encoder_reference_points([(1, 1)], torch.ones(1, 1, 2))
    assert centre.tolist() == [[[[0.5, 0.5]]]]


def test_ratios_and_positions_of_one_image_serve_all() -> None:
    encoder, _ = twins()
    given = inputs(batch=3)
    ratios, pos = given["ratios"][:1], given["pos"][:1]
    expected = encoder(given["src"], SHAPES, None, ratios.expand(3, -1, -1), pos.expand(3, -1, -1))
    assert_same(encoder(given["src"], SHAPES, None, ratios, pos), expected, 1e-14)


def test_an_image_does_not_see_its_neighbours() -> None:
    encoder, _ = twins()
    given = inputs(batch=3)
    together = encoder(given["src"], SHAPES, None, given["ratios"], given["pos"], given["padding"])
    for i in range(3):
        one = {name: tensor[i : i + 1] for name, tensor in given.items()}
        alone = encoder(one["src"], SHAPES, None, one["ratios"], one["pos"], one["padding"])
        assert_same(alone, together[i : i + 1], 1e-12)


def test_padded_cells_have_no_influence_on_others() -> None:
    encoder = dsct.DeformableEncoder(small(enc_layers=1)).double()
    randomise(encoder)
    given = inputs()
    src, padding = given["src"].detach(), given["padding"]
    noise = torch.randn_like(src) * padding[..., None]
    first, second = (encoder(x, SHAPES, None, given["ratios"], given["pos"], padding) for x in (src, src + noise))
    assert torch.equal(first[~padding], second[~padding])
    assert not torch.equal(first[padding], second[padding])


def test_without_layers_or_images() -> None:
    given = inputs()
    none = dsct.DeformableEncoder(small(enc_layers=0))
    assert torch.equal(none(given["src"], SHAPES, None, given["ratios"]), given["src"])
    empty = twins()[0](torch.zeros(0, CELLS, 32, dtype=torch.float64), SHAPES, None, given["ratios"][:1])
    assert empty.shape == (0, CELLS, 32)


def test_levels_as_tensors() -> None:
    encoder, _ = twins()
    given = inputs()
    starts = torch.tensor([0, 15, 21, 23])
    expected = encoder(given["src"], SHAPES, None, given["ratios"])
    assert torch.equal(encoder(given["src"], torch.tensor(SHAPES), starts, given["ratios"]), expected)
    with pytest.raises(ValueError, match=r"DeformableEncoder: level_start_index must be \[0, 15, 21, 23\]"):
        encoder(given["src"], SHAPES, starts + 1, given["ratios"])


def test_dropout_only_in_training_and_from_torchs_generator() -> None:
    encoder = dsct.DeformableEncoder(small(dropout=0.5)).double()
    given = inputs()
    call = lambda: encoder(given["src"], SHAPES, None, given["ratios"])  # noqa: E731
    first, second = call(), call()
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    first = call()
    torch.manual_seed(5)
    assert torch.equal(first, call())
    plain = dsct.DeformableEncoder(small()).double()
    plain.load_state_dict(encoder.state_dict())
    expected = plain(given["src"], SHAPES, None, given["ratios"])
    assert torch.equal(encoder.eval()(given["src"], SHAPES, None, given["ratios"]), expected)


Change = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Any, ...]]
BAD: dict[str, tuple[Change, str]] = {
    "cells of src": (lambda s, r, p, m: (s[:, 1:], SHAPES, None, r, p[:, 1:], m[:, 1:]), "reference_points must be"),
    "levels of ratios": (lambda s, r, p, m: (s, SHAPES, None, r[:, :3], p, m), r"valid_ratios must be \(B, L, 2\)"),
    "ratios of one number": (lambda s, r, p, m: (s, SHAPES, None, r[..., :1], p, m), "valid_ratios must be"),
    "cells of pos": (lambda s, r, p, m: (s, SHAPES, None, r, p[:, 1:], m), "position encoding must be"),
    "rank of src": (lambda s, r, p, m: (s[0], SHAPES, None, r, p, m), r"src must be \(B, S, E\)"),
    "width of src": (lambda s, r, p, m: (s.repeat(1, 1, 2), SHAPES, None, r), "query must be"),
    "number of levels": (
        lambda s, r, p, m: (s, [(4, 6)], None, r[:, :1]),
        "spatial_shapes must be L = 4 levels, got 1",
    ),
    "images of ratios": (lambda s, r, p, m: (s, SHAPES, None, r.repeat(2, 1, 1), p, m), "of 1 or B = 2 images"),
    "images of pos": (lambda s, r, p, m: (s, SHAPES, None, r, p.repeat(2, 1, 1), m), "of 1 or B = 2 images"),
    "rank of pos": (lambda s, r, p, m: (s, SHAPES, None, r, p[0], m), "position encoding must be"),
    "cells of mask": (lambda s, r, p, m: (s, SHAPES, None, r, p, m[:, 1:]), r"padding_mask must be \(B, S\)"),
    "images of mask": (lambda s, r, p, m: (s, SHAPES, None, r, p, m[:1]), r"padding_mask must be \(B, S\)"),
    "empty level": (lambda s, r, p, m: (s, [(3, 5), (3, 3), (1, 0), (0, 1)], None, r, p, m), "positive"),
    "level as one number": (lambda s, r, p, m: (s, [3, 5, 2, 3], None, r, p, m), "L pairs"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_bad_shapes_are_named(change: Change, message: str) -> None:
    encoder, _ = twins()
    given = inputs()
    with pytest.raises(ValueError, match=message):
        encoder(*change(given["src"], given["ratios"], given["pos"], given["padding"]))


def test_what_is_not_a_tensor_is_named() -> None:
    encoder, _ = twins()
    given = inputs()
    with pytest.raises(TypeError, match=r"'src': expected a torch\.Tensor, got list"):
        encoder([1.0], SHAPES, None, given["ratios"])
    with pytest.raises(TypeError, match="DeformableEncoder: spatial_shapes must hold integers"):
        encoder(given["src"], [(3.0, 5.0), (2, 3), (1, 2), (1, 1)], None, given["ratios"])
    with pytest.raises(TypeError, match="padding_mask must be bool, got Double"):
        encoder(given["src"], SHAPES, None, given["ratios"], None, given["padding"].double())
