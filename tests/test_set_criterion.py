"""Losses: equal to the reference, to binary cross-entropy at γ = 0, finite at the edges, bad input named."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

import dsct
from comparison import small
from dsct.config import DSCTConfig
from reference.criterion import SetCriterion as ReferenceCriterion

CONFIGS: dict[str, DSCTConfig] = {
    "multi-class": small(num_subject_queries=6),
    "multi-class, extra logit": small(num_subject_queries=6, person_class=True),
    "multi-label": small(num_subject_queries=6, multi_label=True, num_classes=26),
    "multi-label, person": small(num_subject_queries=6, multi_label=True, num_classes=26, person_class=True),
    "other focal loss": small(num_subject_queries=6, focal_alpha=0.6, focal_gamma=1.0),
}


def outputs_of(config: DSCTConfig, images: int = 4, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    def layer() -> dict[str, Tensor]:
        logits = torch.randn(images, config.num_subject_queries, config.num_logits, dtype=dtype)
        boxes = torch.rand(images, config.num_subject_queries, 4, dtype=dtype) * 0.5 + 0.1
        return {"pred_logits": logits.requires_grad_(), "pred_boxes": boxes.requires_grad_()}

    return {**layer(), "aux_outputs": [layer() for _ in range(config.dec_layers - 1)]}


def targets_of(config: DSCTConfig, counts: tuple[int, ...] = (3, 0, 1, 9)) -> list[dict[str, Tensor]]:
    def labels(n: int) -> Tensor:
        shape = (n, config.num_classes) if config.multi_label else (n,)
        return torch.randint(0, 2 if config.multi_label else config.num_classes, shape)

    return [{"labels": labels(n), "boxes": torch.rand(n, 4, dtype=torch.float64) * 0.5 + 0.1} for n in counts]


def leaves(outputs: dict[str, Any]) -> list[Tensor]:
    return [layer[key] for layer in (outputs, *outputs["aux_outputs"]) for key in ("pred_logits", "pred_boxes")]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_equals_the_reference(config: DSCTConfig) -> None:
    outputs, targets = outputs_of(config), targets_of(config)
    ours, theirs = dsct.SetCriterion(config), ReferenceCriterion(config)
    losses, expected = ours(outputs, targets), theirs(outputs, targets)
    assert losses.keys() == expected.keys() == ours.weight_dict.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-9, atol=1e-9, msg=name)
    mine = torch.autograd.grad(ours.total(losses), leaves(outputs), allow_unused=True)
    reference = torch.autograd.grad(theirs.total(expected), leaves(outputs), allow_unused=True)
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    config = small(focal_gamma=0.0, focal_alpha=0.5, dec_layers=1)
    outputs, targets = outputs_of(config, 1), targets_of(config, (2,))
    query, target = dsct.HungarianMatcher(config)(outputs, targets)[0]
    wanted = torch.zeros_like(outputs["pred_logits"][0])
    wanted[query, targets[0]["labels"][target]] = 1.0
    expected = 0.5 * binary_cross_entropy_with_logits(outputs["pred_logits"][0], wanted, reduction="sum") / 2
    torch.testing.assert_close(dsct.SetCriterion(config)(outputs, targets)["loss_ce"], expected)


@pytest.mark.parametrize("config", [CONFIGS["multi-class"], CONFIGS["multi-label, person"]])
def test_edges_are_finite(config: DSCTConfig) -> None:
    outputs = outputs_of(config)
    with torch.no_grad():
        outputs["pred_boxes"][0] = 0.0
        outputs["pred_logits"][1] = 80.0
        outputs["pred_logits"][2] = -80.0
    targets = targets_of(config)
    targets[0]["boxes"][0] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    targets[0]["boxes"][1] = outputs["pred_boxes"][0, 0].detach()
    for chosen in (targets, targets_of(config, (0, 0, 0, 0))):
        total = dsct.SetCriterion(config).total(dsct.SetCriterion(config)(outputs, chosen))
        assert total.isfinite()
        found = torch.autograd.grad(total, leaves(outputs), allow_unused=True)
        assert all(gradient is None or gradient.isfinite().all() for gradient in found)


def test_half_precision_outputs_and_copies() -> None:
    config = CONFIGS["multi-class"]
    outputs, targets = outputs_of(config, dtype=torch.float32), targets_of(config)
    criterion = dsct.SetCriterion(config)
    expected = criterion(outputs, targets)
    half = copy.deepcopy(outputs)
    half["pred_logits"] = half["pred_logits"].detach().bfloat16()
    torch.testing.assert_close(criterion(half, targets)["loss_ce"], expected["loss_ce"], rtol=0.05, atol=0.05)
    for other in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert torch.equal(other(outputs, targets)["loss_ce"], expected["loss_ce"])


BAD = {
    "labels dtype": (lambda t: t[0].update(labels=t[0]["labels"].float()), (TypeError, ValueError), r"labels"),
    "label range": (lambda t: t[0].update(labels=torch.tensor([0, 1, 5])), ValueError, r"labels"),
    "labels count": (lambda t: t[0].update(labels=torch.tensor([0])), ValueError, r"labels|boxes"),
    "boxes shape": (lambda t: t[2].update(boxes=torch.rand(1, 5)), ValueError, r"boxes"),
    "boxes finite": (lambda t: t[2].update(boxes=torch.full((1, 4), torch.nan)), ValueError, r"boxes"),
    "no boxes": (lambda t: t[2].pop("boxes"), ValueError, r"boxes"),
    "not a tensor": (lambda t: t[2].update(boxes=[[0.1] * 4]), TypeError, r"boxes"),
    "images": (lambda t: t.pop(), ValueError, r"targets"),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_targets_are_named(change: Any, error: Any, message: str) -> None:
    config = CONFIGS["multi-class"]
    targets = targets_of(config)
    change(targets)
    with pytest.raises(error, match=message):
        dsct.SetCriterion(config)(outputs_of(config), targets)


@pytest.mark.parametrize("key", ["pred_logits", "pred_boxes"])
def test_nan_predictions_name_the_image(key: str) -> None:
    config = CONFIGS["multi-class"]
    outputs = outputs_of(config)
    with torch.no_grad():
        outputs[key][2, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"image 2"):
        dsct.SetCriterion(config)(outputs, targets_of(config))


def test_total_refuses_unknown_losses() -> None:
    criterion = dsct.SetCriterion(CONFIGS["multi-class"])
    with pytest.raises(ValueError, match="losses must be among"):
        criterion.total({"loss_mask": torch.zeros(())})
