"""Masks of the levels, position encoding, valid ratios and flattening: by hand, and equal to the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dsct import _dsct
from tests.comparison import assert_same
from tests.reference.position_encoding import level_mask, sine_position_encoding, valid_ratio

E = 32


def maps(*sizes: tuple[int, int], batch: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(batch, E, height, width).to(dtype) for height, width in sizes]


def corner_mask(height: int, width: int, *valid: tuple[int, int]) -> Tensor:
    """(B, H, W) bool; image i is valid in its first (h, w) pixels."""
    mask = torch.ones(len(valid), height, width, dtype=torch.bool)
    for image, (h, w) in enumerate(valid):
        mask[image, :h, :w] = False
    return mask


def flatten(features: list[Tensor], mask: Tensor | None, embed: Tensor | None = None) -> tuple:
    if embed is None:
        embed = torch.zeros(len(features), E, dtype=features[0].dtype)
    return _dsct.flatten_levels(features, mask, embed)


@pytest.mark.parametrize(
    ("pixels", "sizes"),
    [
        ((64, 96), [(8, 12), (4, 6), (2, 3)]),
        ((100, 133), [(13, 17), (7, 9), (4, 5), (2, 3)]),
        ((7, 5), [(7, 5), (1, 1)]),
    ],
    ids=str,
)
def test_equals_the_reference(pixels: tuple[int, int], sizes: list[tuple[int, int]]) -> None:
    features, embed = maps(*sizes), torch.randn(len(sizes), E, dtype=torch.float64)
    mask = corner_mask(*pixels, pixels, (pixels[0] * 2 // 3, pixels[1] * 4 // 5))
    src, pos, padding, shapes, ratios = flatten(features, mask, embed)
    masks = [level_mask(mask, h, w) for h, w in sizes]
    codes = [sine_position_encoding(m, E, torch.float64).flatten(2).transpose(1, 2) for m in masks]
    assert shapes == sizes
    assert torch.equal(src, torch.cat([m.flatten(2).transpose(1, 2) for m in features], 1))
    assert torch.equal(padding, torch.cat([m.flatten(1) for m in masks], 1))
    expected = torch.cat([code + level for code, level in zip(codes, embed, strict=True)], 1)
    assert_same(pos[~padding], expected[~padding], 1e-12)  # rows of nothing but padding divide by 1e-6: any phase
    assert pos.isfinite().all()
    assert_same(ratios, torch.stack([valid_ratio(m, torch.float64) for m in masks], 1), 1e-15)


def test_no_mask_is_a_mask_without_padding() -> None:
    features, embed = maps((8, 12), (4, 6)), torch.randn(2, E, dtype=torch.float64)
    none, zeros = flatten(features, None, embed), flatten(features, torch.zeros(2, 64, 96, dtype=torch.bool), embed)
    assert none[2] is None
    assert not zeros[2].any()
    assert torch.equal(none[0], zeros[0])
    assert torch.equal(none[1].expand(2, -1, -1), zeros[1])
    assert torch.equal(none[4].expand(2, -1, -1), zeros[4])
    assert none[1].shape[0] == none[4].shape[0] == 1, "computed once for all images"


@pytest.mark.parametrize("pixels", [100, 333, 800, 1199, 1333])
@pytest.mark.parametrize("cells", [7, 13, 25, 42, 100])
def test_mask_of_a_level_takes_whole_pixels(pixels: int, cells: int) -> None:
    """Cell i takes pixel floor(i·H/H_l), wherever the padding begins; rounding of H/H_l may move no cell."""
    mask = torch.zeros(2, pixels, 1, dtype=torch.bool)
    mask[0, 0::2], mask[1, pixels * 5 // 7 :] = True, True
    padding = flatten(maps((cells, 1)), mask)[2]
    expected = [[bool(mask[image, i * pixels // cells, 0]) for i in range(cells)] for image in range(2)]
    assert padding.tolist() == expected


def test_codes_by_hand() -> None:
    """The second cell of a row of three whose last is padded: y is 1 of 1, x is 2 of 2."""
    code = flatten(maps((1, 3), batch=1), corner_mask(1, 3, (1, 2)))[1]
    y, x = 0.5 / (1 + 1e-6) * 2 * math.pi, 1.5 / (2 + 1e-6) * 2 * math.pi
    wave = lambda angle: [f(angle / 10000 ** (4 * i / E)) for i in range(E // 4) for f in (math.sin, math.cos)]  # noqa: E731
    assert_same(code[0, 1], torch.tensor(wave(y) + wave(x), dtype=torch.float64), 1e-14)


def test_codes_of_y_come_first() -> None:
    code = flatten(maps((3, 4), batch=1), None)[1].reshape(3, 4, E)
    assert torch.equal(code[:, :1, : E // 2].expand(3, 4, E // 2), code[:, :, : E // 2])
    assert torch.equal(code[:1, :, E // 2 :].expand(3, 4, E // 2), code[:, :, E // 2 :])
    assert not torch.equal(code[0, 0, : E // 2], code[1, 0, : E // 2])


def test_padding_changes_no_code_of_an_unpadded_cell() -> None:
    plain = flatten(maps((4, 6), batch=1), None)[1].reshape(4, 6, E)
    padded = flatten(maps((7, 8), batch=1), corner_mask(56, 64, (32, 48)))[1].reshape(7, 8, E)
    assert torch.equal(padded[:4, :6], plain)


def test_valid_ratio_is_width_then_height_of_each_level() -> None:
    ratios = flatten(maps((4, 8), (2, 4), batch=1), corner_mask(32, 64, (16, 48)))[4]
    assert ratios.tolist() == [[[0.75, 0.5], [0.75, 0.5]]]
    # Rounded to cells level by level: 40 of 64 pixels are 5 of 8 cells, but 3 of 4.
    ratios = flatten(maps((4, 8), (2, 4), batch=1), corner_mask(32, 64, (32, 40)))[4]
    assert ratios.tolist() == [[[0.625, 1.0], [0.75, 1.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_computes_coordinates_in_float32(dtype: torch.dtype) -> None:
    mask = corner_mask(100, 132, (100, 132), (71, 93))
    exact, given = (maps((25, 33), (13, 17), dtype=d) for d in (torch.float64, dtype))
    src, pos, padding, _, ratios = flatten(given, mask)
    assert src.dtype == pos.dtype == dtype
    assert ratios.dtype == torch.float32
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    expected = flatten(exact, mask)[1]
    torch.testing.assert_close(pos.double()[~padding], expected[~padding], rtol=0, atol=tolerance)


def test_an_image_of_nothing_but_padding_stays_finite() -> None:
    _, pos, padding, _, ratios = flatten(maps((4, 6)), corner_mask(32, 48, (32, 48), (0, 0)))
    assert padding[1].all()
    assert pos.isfinite().all()
    assert ratios[1].tolist() == [[0.0, 0.0]]


def test_gradients_reach_maps_and_level_embedding_only() -> None:
    features = [m.requires_grad_() for m in maps((4, 6), (2, 3))]
    embed = torch.randn(2, E, dtype=torch.float64, requires_grad=True)
    src, pos, _, _, ratios = flatten(features, None, embed)
    (src.sum() + 2 * pos.sum()).backward()
    assert all(torch.equal(m.grad, torch.ones_like(m)) for m in features)
    assert embed.grad.tolist() == [[48.0] * E, [12.0] * E]
    assert not ratios.requires_grad


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.zeros(3, 32, 48, dtype=torch.bool), ValueError, r"mask must be \(B, H, W\)"),
        (torch.zeros(32, 48, dtype=torch.bool), ValueError, r"mask must be \(B, H, W\)"),
        (torch.zeros(2, 32, 48), TypeError, "mask must be bool"),
        ([[False]], TypeError, r"'mask': expected a torch\.Tensor"),
    ],
)
def test_bad_masks_are_named(mask: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        flatten(maps((4, 6)), mask)


def test_bad_maps_and_embeddings_are_named() -> None:
    with pytest.raises(ValueError, match=r"level_embed must be \(L, E\) = \(1, 32\), got \(2, 32\)"):
        flatten(maps((4, 6)), None, torch.zeros(2, E, dtype=torch.float64))
    with pytest.raises(ValueError, match="maps is empty"):
        _dsct.flatten_levels([], None, torch.zeros(0, E))
