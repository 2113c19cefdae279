"""DETR's matching and losses as one writes them in PyTorch, vectorised over the batch, with SciPy's assignment.

The peer of `bench_criterion`. Costs of a whole batch are one tensor, with the targets padded to the longest list, so
that no query is compared with the subjects of another image; SciPy then solves each image; losses of a layer index all
matched pairs at once. Focal loss and cost are Deformable DETR's, with the sum over classes for several labels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dsct import DSCTConfig

Indices = tuple[Tensor, Tensor, Tensor]


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) centre and size to corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Of corner boxes, broadcast."""
    area_a, area_b = ((x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b))
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = area_a + area_b - overlap
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return overlap / union - (hull - union) / hull


class DetrCriterion:
    """Losses of every decoder layer, each with its own matching.

    Args:
        config: weights, α, γ, and whether a subject has several labels.
    """

    def __init__(self, config: DSCTConfig) -> None:
        self.config = config

    def one_hot(self, targets: list[dict[str, Tensor]], width: int) -> tuple[Tensor, Tensor, list[int]]:
        """Padded classes (B, n, C), padded boxes (B, n, 4), and how many are real."""
        multi = self.config.multi_label
        labels = [t["labels"].float() if multi else F.one_hot(t["labels"], width).float() for t in targets]
        pad = torch.nn.utils.rnn.pad_sequence
        boxes = pad([t["boxes"] for t in targets], batch_first=True, padding_value=0.5)
        return pad(labels, batch_first=True), boxes, [len(t["boxes"]) for t in targets]

    @torch.no_grad()
    def match(self, logits: Tensor, boxes: Tensor, classes: Tensor, wanted: Tensor, counts: list[int]) -> Indices:
        """Image, query and subject of every matched pair."""
        cfg = self.config
        p = logits.sigmoid()
        positive = cfg.focal_alpha * (1 - p) ** cfg.focal_gamma * -(p + 1e-8).log()
        negative = (1 - cfg.focal_alpha) * p**cfg.focal_gamma * -(1 - p + 1e-8).log()
        class_cost = (positive - negative) @ classes.transpose(1, 2)
        if cfg.multi_label:
            class_cost = class_cost / cfg.num_classes
        box_cost = torch.cdist(boxes, wanted, p=1)
        giou = generalized_iou(corners(boxes)[:, :, None], corners(wanted)[:, None])
        cost = (cfg.cost_class * class_cost + cfg.cost_bbox * box_cost - cfg.cost_giou * giou).cpu().numpy()
        pairs = [linear_sum_assignment(cost[i, :, :n]) for i, n in enumerate(counts)]
        image = torch.cat([torch.full((len(query),), i) for i, (query, _) in enumerate(pairs)])
        query, subject = (torch.cat([torch.as_tensor(pair[side]) for pair in pairs]) for side in (0, 1))
        return image, query, subject

    def layer(self, logits: Tensor, boxes: Tensor, padded: tuple[Tensor, Tensor, list[int]]) -> dict[str, Tensor]:
        """The three losses of one layer."""
        cfg = self.config
        classes, wanted, counts = padded
        image, query, subject = self.match(logits, boxes, classes, wanted, counts)
        total = max(sum(counts), 1)
        truth = torch.zeros_like(logits)
        truth[image, query] = classes[image, subject]
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        p = logits.sigmoid()
        miss = p + truth - 2 * p * truth
        alpha = cfg.focal_alpha * truth + (1 - cfg.focal_alpha) * (1 - truth)
        predicted, target = boxes[image, query], wanted[image, subject]
        giou = generalized_iou(corners(predicted), corners(target))
        return {
            "loss_ce": (alpha * miss**cfg.focal_gamma * entropy).sum() / total,
            "loss_bbox": F.l1_loss(predicted, target, reduction="sum") / total,
            "loss_giou": (1 - giou).sum() / total,
        }

    def __call__(self, outputs: dict[str, Any], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """All losses, unweighted, under DETR's names."""
        padded = self.one_hot(targets, outputs["pred_logits"].shape[-1])
        layers = {"": outputs} | {f"_{i}": aux for i, aux in enumerate(outputs["aux_outputs"])}
        return {
            name + suffix: loss
            for suffix, out in layers.items()
            for name, loss in self.layer(out["pred_logits"], out["pred_boxes"], padded).items()
        }
