"""Boxes: corners and generalised IoU, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou

from dsct import _dsct
from tests.reference.criterion import generalized_iou

sides = st.floats(0.01, 1)
box = st.tuples(sides, sides, sides, sides)


def corners(boxes: list[tuple[float, ...]]) -> Tensor:
    return box_convert(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), "cxcywh", "xyxy")


def test_corners_are_those_of_torchvision() -> None:
    boxes = torch.rand(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_dsct.box_corners(boxes), box_convert(boxes, "cxcywh", "xyxy"), rtol=0, atol=1e-15)


@given(st.lists(st.tuples(box, box), min_size=1, max_size=8))
def test_giou_is_that_of_torchvision_and_of_the_reference(pairs: list[tuple[tuple[float, ...], ...]]) -> None:
    a, b = corners([pair[0] for pair in pairs]), corners([pair[1] for pair in pairs])
    ours = _dsct.generalized_iou(a, b)
    torch.testing.assert_close(ours, generalized_box_iou(a, b).diagonal(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours, generalized_iou(a, b), rtol=1e-10, atol=1e-10)


@given(box, box)
def test_giou_is_symmetric_and_bounded(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    a, b = corners([first]), corners([second])
    there, back = _dsct.generalized_iou(a, b), _dsct.generalized_iou(b, a)
    assert there == back
    assert -1 <= there <= 1 + 1e-12


def test_giou_broadcasts() -> None:
    a, b = corners([(0.5, 0.5, 0.2, 0.2), (0.3, 0.4, 0.1, 0.6)]), corners([(0.5, 0.4, 0.3, 0.1)] * 3)
    assert _dsct.generalized_iou(a[:, None], b[None]).shape == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("first", [(0.5, 0.5, 0.0, 0.0), (0.5, 0.5, 0.0, 0.3), (0.5, 0.5, 1e-20, 1e-20)])
@pytest.mark.parametrize("second", [(0.5, 0.5, 0.0, 0.0), (0.2, 0.5, 0.0, 0.3), (0.5, 0.5, 0.2, 0.2)])
def test_boxes_without_area_have_finite_gradients(
    first: tuple[float, ...], second: tuple[float, ...], dtype: torch.dtype
) -> None:
    a, b = (torch.tensor([side], dtype=dtype, requires_grad=True) for side in (first, second))
    giou = _dsct.generalized_iou(_dsct.box_corners(a), _dsct.box_corners(b))
    gradients = torch.autograd.grad(giou.sum(), (a, b))
    assert giou.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_two_points_at_one_place_have_giou_zero() -> None:
    point = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    assert _dsct.generalized_iou(point, point) == 0


def test_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(6, 4, dtype=torch.float64, generator=generator) * 0.5 + 0.2 for _ in range(2))
    a, b = a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: _dsct.generalized_iou(_dsct.box_corners(x), _dsct.box_corners(y)), (a, b)
    )


@pytest.mark.parametrize("shape", [(3,), (2, 5), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"boxes must be \(\.\.\., 4\), got"):
        _dsct.box_corners(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"generalized_iou: b must be"):
        _dsct.generalized_iou(torch.zeros(1, 4), torch.zeros(shape))
