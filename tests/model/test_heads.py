"""Emotion and box heads: the formula, the clamp at the border, leading dimensions, heads of single layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import dsct
from dsct.modules.heads import BoxEmbed, class_embed, heads
from tests.comparison import assert_same, backward, padded_images, randomise, small


class Heads(nn.Module):
    """A class and a box head."""

    def __init__(self, class_embed: nn.Module, bbox_embed: nn.Module) -> None:
        super().__init__()
        self.class_embed, self.bbox_embed = class_embed, bbox_embed

    def forward(self, subject: Tensor, reference_points: Tensor) -> tuple[Tensor, Tensor]:
        return heads(self.class_embed, self.bbox_embed, subject, reference_points)


def random_heads(**overrides: int) -> Heads:
    config = small(**overrides)
    module = Heads(class_embed(config), BoxEmbed(config.hidden_dim)).double()
    randomise(module)
    return module


def inputs(*leading: int, subjects: int = 3) -> tuple[Tensor, Tensor]:
    """Subjects (…, 2, N, E), and reference points (2, N, 2) of which some lie on the border."""
    points = torch.rand(2, subjects, 2, dtype=torch.float64)
    points[0, 0] = torch.tensor([0.0, 1.0])
    return torch.randn(*leading, 2, subjects, 32, dtype=torch.float64), points


def by_hand(module: Heads, subject: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    first, second, third = module.bbox_embed.layers
    offset = third(second(first(subject).relu()).relu())
    clamped = points.clamp(min=1e-5) / (1 - points).clamp(min=1e-5)
    shift = torch.cat([clamped.log(), torch.zeros_like(points)], -1)
    return module.class_embed(subject), (offset + shift).sigmoid()


@pytest.mark.parametrize("leading", [(), (4,)], ids=["one layer", "four layers"])
def test_formula_and_gradients(leading: tuple[int, ...]) -> None:
    module, (subject, points) = random_heads(), inputs(*leading)
    results = []
    for call in (module, lambda *arguments: by_hand(module, *arguments)):
        leaves = [tensor.clone().requires_grad_() for tensor in (subject, points)]
        module.zero_grad()
        out = call(*leaves)
        backward(out)
        results.append((out, [leaf.grad for leaf in leaves], [p.grad for p in module.parameters()]))
    assert_same(*results, tolerance=1e-10)
    logits, boxes = results[0][0]
    assert logits.shape == (*leading, 2, 3, 5)
    assert boxes.shape == (*leading, 2, 3, 4)


def test_a_new_model_puts_small_boxes_at_its_reference_points() -> None:
    config = small()
    module = Heads(class_embed(config), BoxEmbed(32)).double()
    subject, points = inputs()
    logits, boxes = module(subject, points.clamp(0.01, 0.99))
    assert_same(boxes[..., :2], points.clamp(0.01, 0.99), 1e-12)
    assert_same(boxes[..., 2:], torch.full((2, 3, 2), 1 / (1 + math.exp(2)), dtype=torch.float64), 1e-12)
    assert_same(logits, subject @ module.class_embed.weight.T - math.log(99), 1e-5)


def test_border_points_stay_finite() -> None:
    module, (subject, _) = random_heads(), inputs()
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64).expand(2, 3, 2).clone()
    _, boxes = module(subject, corners.requires_grad_())
    assert ((boxes > 0) & (boxes < 1)).all()
    boxes.sum().backward()
    assert corners.grad.isfinite().all()


def test_number_of_logits() -> None:
    subject, points = inputs()
    assert random_heads(num_classes=7)(subject, points)[0].shape == (2, 3, 7)
    assert random_heads(num_classes=7, person_class=True)(subject, points)[0].shape == (2, 3, 8)


@pytest.mark.parametrize("subjects", [0, 1])
def test_few_subjects(subjects: int) -> None:
    rows = torch.randn(2, subjects, 32, dtype=torch.float64)
    logits, boxes = random_heads()(rows, torch.full((2, subjects, 2), 0.5, dtype=torch.float64))
    assert logits.shape == (2, subjects, 5)
    assert boxes.shape == (2, subjects, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_lower_precision_keeps_boxes_in_float32(dtype: torch.dtype) -> None:
    module, (subject, points) = random_heads(), inputs()
    expected = module(subject, points)
    logits, boxes = module.to(dtype)(subject.to(dtype), points.float())
    assert logits.dtype == dtype
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes.double(), expected[1], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "points", [torch.rand(2, 4, 2), torch.rand(2, 3, 4), torch.rand(3, 2)], ids=["queries", "boxes", "rank"]
)
def test_bad_points_are_named(points: Tensor) -> None:
    with pytest.raises(ValueError, match=r"heads: reference_points must be \(B, N, 2\)"):
        random_heads()(inputs()[0], points.double())


def test_layers_with_heads_of_their_own() -> None:
    """Un-sharing the heads changes nothing until one of them changes, and then that layer only."""
    model = dsct.DSCT(small(dec_layers=3)).double().eval()
    randomise(model)
    images, mask = padded_images()
    shared = model(images, mask)
    for name in ("class_embed_dsct", "bbox_embed_dsct"):
        own = nn.ModuleList(nn.Linear(32, 5) if "class" in name else BoxEmbed(32) for _ in range(3)).double()
        own.load_state_dict(getattr(model, name).state_dict())
        setattr(model, name, own)
    assert_same(model(images, mask), shared, 1e-12)
    with torch.no_grad():
        model.class_embed_dsct[1].bias += 1
    changed = model(images, mask)
    assert_same(changed["pred_logits"], shared["pred_logits"], 1e-12)
    assert_same(changed["aux_outputs"][0], shared["aux_outputs"][0], 1e-12)
    assert_same(changed["aux_outputs"][1]["pred_logits"], shared["aux_outputs"][1]["pred_logits"] + 1, 1e-12)
