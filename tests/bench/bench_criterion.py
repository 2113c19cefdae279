"""Matching and losses on a CPU: batch 32, 300 queries, 6 decoder layers, 5 subjects per image, 26 classes.

Against DETR's criterion in PyTorch with SciPy's assignment (`detr_criterion`), and against Hugging Face's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import dsct

from . import program
from .agreement import require
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired
from .workloads.detr_criterion import DetrCriterion
from .workloads.twins import CLASSES, Targets, hugging_face_targets, targets

Loss = Callable[[Tensor, Tensor], Tensor]
SUBJECTS = 5


@dataclass(frozen=True)
class Predictions:
    """Of all decoder layers, the last one last: logits (layers, B, N, C) and boxes (layers, B, N, 4)."""

    logits: Tensor
    boxes: Tensor

    @classmethod
    def random(cls, batch: int, queries: int, layers: int) -> Predictions:
        """Low scores, as after initialisation, and boxes of all sizes inside the image."""
        size = 0.02 + 0.5 * torch.rand(layers, batch, queries, 2)
        centre = size / 2 + torch.rand_like(size) * (1 - size)
        return cls(torch.randn(layers, batch, queries, CLASSES) - 3, torch.cat((centre, size), dim=-1))


def outputs(logits: Tensor, boxes: Tensor) -> dict[str, Any]:
    """As the model returns them."""
    layers = [{"pred_logits": logit, "pred_boxes": box} for logit, box in zip(logits, boxes, strict=True)]
    return {**layers[-1], "aux_outputs": layers[:-1]}


def our_loss(config: dsct.DSCTConfig, subjects: Targets) -> Loss:
    """Weighted sum."""
    criterion = dsct.SetCriterion(config)
    return lambda logits, boxes: criterion.total(criterion(outputs(logits, boxes), subjects))


def scipy_loss(config: dsct.DSCTConfig, subjects: Targets) -> Loss:
    """The same through `DetrCriterion`."""
    criterion, weights = DetrCriterion(config), dsct.SetCriterion(config).weight_dict

    def loss(logits: Tensor, boxes: Tensor) -> Tensor:
        losses = criterion(outputs(logits, boxes), subjects)
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    return loss


def hugging_face_loss(config: dsct.DSCTConfig, subjects: Targets) -> Loss:
    """The loss that Hugging Face's model computes from labels; it also counts predictions for the log."""
    import transformers
    from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss

    theirs = transformers.DeformableDetrConfig(
        backbone_config=transformers.ResNetConfig(),
        num_labels=CLASSES,
        decoder_layers=config.dec_layers,
        auxiliary_loss=True,
        class_cost=2,
    )
    labels = hugging_face_targets(subjects)

    def loss(logits: Tensor, boxes: Tensor) -> Tensor:
        total, _, _ = DeformableDetrForObjectDetectionLoss(
            logits[-1], labels, logits.device, boxes[-1], theirs, logits, boxes
        )
        return total

    return loss


def step(loss: Loss, predictions: Predictions, backward: bool) -> Callable[[], tuple[Tensor, ...]]:
    """Loss alone, or loss and gradients of logits and boxes."""
    logits, boxes = (tensor.clone().requires_grad_(backward) for tensor in (predictions.logits, predictions.boxes))

    def call() -> tuple[Tensor, ...]:
        value = loss(logits, boxes)
        return (value, *torch.autograd.grad(value, (logits, boxes))) if backward else (value,)

    return call


def measure(options: Options) -> list[Table]:
    """One label and several labels per subject, against SciPy; one label against Hugging Face."""
    batch, queries, layers = (2, 20, 2) if options.quick else (32, 300, 6)
    table = Table(
        "matching and losses",
        ["labels", "peer", "pass", *COMPARISON_COLUMNS],
        note=f"float32, batch {batch}, {queries} queries, {layers} layers, {SUBJECTS} subjects per image, {CLASSES} "
        "classes. Loss values, and gradients, were equal before.",
    )
    predictions = Predictions.random(batch, queries, layers)
    for multi_label, make_peer, name in (
        (False, scipy_loss, "PyTorch and SciPy"),
        (True, scipy_loss, "PyTorch and SciPy"),
        (False, hugging_face_loss, "Hugging Face"),
    ):
        config = dsct.DSCTConfig.paper_emotic(
            num_classes=CLASSES, multi_label=multi_label, dec_layers=layers, num_subject_queries=queries, loss_class=1.0
        )
        subjects = targets(batch, SUBJECTS, multi_label)
        for backward in (False, True):
            mine = step(our_loss(config, subjects), predictions, backward)
            peer = step(make_peer(config, subjects), predictions, backward)
            require(f"criterion against {name}", mine(), peer(), (1e-5, 1e-4, 1e-4) if backward else (1e-5,))
            labels = ["several" if multi_label else "one", name, "loss + backward" if backward else "loss"]
            table.compare(labels, paired(mine, peer, options.budget))
    return [table]


if __name__ == "__main__":
    program.run("criterion", __doc__, measure)
