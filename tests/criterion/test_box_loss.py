"""L1 and GIoU losses of matched boxes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss

from dsct import _dsct


def pairs(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(*shape, 4, dtype=torch.float64, generator=generator) * 0.6 + 0.1 for _ in range(2))
    return first, second


def test_sums_over_the_pairs_of_every_layer() -> None:
    predicted, wanted = pairs(3, 5)
    l1, giou = _dsct.box_losses(predicted, wanted)
    corners = (box_convert(boxes, "cxcywh", "xyxy") for boxes in (predicted, wanted))
    torch.testing.assert_close(l1, (predicted - wanted).abs().sum(dim=(1, 2)))
    torch.testing.assert_close(giou, generalized_box_iou_loss(*corners, eps=0).sum(dim=1), rtol=1e-12, atol=0)


def test_equal_boxes_cost_nothing() -> None:
    boxes, _ = pairs(4)
    assert all(loss.abs() < 1e-12 for loss in _dsct.box_losses(boxes, boxes))


def test_no_pair_gives_zeros_with_a_graph() -> None:
    predicted = torch.zeros(2, 0, 4, requires_grad=True)
    for loss in _dsct.box_losses(predicted, torch.zeros(2, 0, 4)):
        assert loss.tolist() == [0, 0]
        assert torch.autograd.grad(loss.sum(), predicted)[0].shape == predicted.shape


def test_gradients_are_those_of_finite_differences() -> None:
    predicted, wanted = pairs(2, 3)
    assert torch.autograd.gradcheck(lambda boxes: _dsct.box_losses(boxes, wanted), (predicted.requires_grad_(),))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3), (4,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"box_losses: (predicted|wanted) must be"):
        _dsct.box_losses(torch.zeros(shape), torch.zeros(2, 4))
