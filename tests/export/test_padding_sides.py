"""Padding in the first row or column, as of letterboxes: valid ratios are 0, and reference points not finite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dsct.export import standard_operators, to_exported_program, to_onnx
from tests.comparison import assert_same
from tests.export.models import VARIANTS, letterboxes, model_of, of_last_layer

ODD = (float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 1e9, -1e9)


def odd(places: Tensor) -> Tensor:
    """The same with numbers that are not finite, or far away, here and there: x, y and both."""
    flat = places.clone().flatten(0, -2)
    for index, number in enumerate(ODD):
        flat[5 * index, 0] = flat[5 * index + 1, 1] = number
        flat[5 * index + 2] = number
    return flat.view_as(places)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_that_are_not_finite_count_as_outside(dtype: torch.dtype) -> None:
    sizes, table, operators = [7, 5, 1, 1], standard_operators(), torch.ops.dsct
    torch.manual_seed(0)
    value, weights = torch.randn(2, 36, 3, 4, dtype=dtype), torch.rand(2, 11, 3, 2, 2, dtype=dtype)
    locations = odd(1.4 * torch.rand(2, 11, 3, 2, 2, 2, dtype=dtype) - 0.2)
    expected = operators.ms_deform_attn.default(value, sizes, locations, weights)
    assert expected.isfinite().all()
    assert_same(table[operators.ms_deform_attn.default](value, sizes, locations, weights), expected, 1e-5)
    offsets = torch.randn(2, 11, 3, 2, 2, 2, dtype=dtype)
    for reference in (odd(torch.rand(2, 11, 2, 2, dtype=dtype)), torch.rand(2, 11, 2, 4, dtype=dtype)):
        for given in (offsets, odd(offsets)):
            arguments = value, sizes, reference, given, weights
            expected = operators.ms_deform_attn_fused.default(*arguments)
            assert expected.isfinite().all()
            assert_same(table[operators.ms_deform_attn_fused.default](*arguments), expected, 1e-5)


@pytest.mark.parametrize("standard", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_program_equals_the_model_wherever_the_padding_is(variant: str, standard: bool) -> None:
    model, mask = model_of(**VARIANTS[variant]).double(), letterboxes(72, 96)
    images = torch.randn(len(mask), 3, 72, 96, dtype=torch.float64)
    program = to_exported_program(model, standard_operators=standard, size=(6, 72, 96))
    expected = of_last_layer(model, images, mask)
    assert all(output.isfinite().all() for output in expected)
    assert_same(program.module()(images, mask), expected, 1e-9)


@pytest.mark.slow
def test_onnx_runtime_equals_the_model_wherever_the_padding_is(tmp_path: Path) -> None:
    import onnxruntime

    model, mask = model_of(), letterboxes(72, 96)
    images = torch.randn(len(mask), 3, 72, 96)
    to_onnx(model, tmp_path / "model.onnx", size=(6, 72, 96))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images.numpy(), "mask": mask.numpy()})
    for ours, expected in zip(found, of_last_layer(model, images, mask), strict=True):
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-4)
