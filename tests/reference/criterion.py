"""Matching of predictions and ground truth, and the loss on the matched pairs (paper, section 3.3).

Both see p = sigmoid(logit): ``focal_alpha`` and ``focal_gamma`` (a, g below) serve matching and loss alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor, nn

if TYPE_CHECKING:
    from dsct.config import DSCTConfig

Indices = list[tuple[Tensor, Tensor]]


def box_corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) as centre and size to (x1, y1, x2, y2)."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU = intersection / union - (hull - union) / hull of corner boxes (..., 4), broadcast (Rezatofighi 2019).

    A quotient whose denominator is zero (two empty boxes) is taken as zero.
    """
    area_a, area_b = ((x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1]) for x in (a, b))
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = overlap.prod(dim=-1)
    union = area_a + area_b - intersection
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(dim=-1)
    return intersection / torch.where(union > 0, union, 1) - (hull - union) / torch.where(hull > 0, hull, 1)


class HungarianMatcher(nn.Module):
    """One-to-one assignment of least cost between the N queries and the subjects of each image.

    cost = cost_class * class cost + cost_bbox * |box - box'|_1 - cost_giou * GIoU, with the class cost from::

        pos = a (1 - p)^g (-log(p + 1e-8))        neg = (1 - a) p^g (-log(1 - p + 1e-8))
        one class y:       pos[y] - neg[y]
        several classes:   mean over the C classes of (pos - neg) * target
    """

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        self.cfg = cfg

    def cost(self, logits: Tensor, boxes: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Cost (N, n) of one image: logits (N, C'), boxes (N, 4), and n subjects."""
        cfg = self.cfg
        p = logits[:, : cfg.num_classes].sigmoid()
        pos = cfg.focal_alpha * (1 - p) ** cfg.focal_gamma * -(p + 1e-8).log()
        neg = (1 - cfg.focal_alpha) * p**cfg.focal_gamma * -(1 - p + 1e-8).log()
        if cfg.multi_label:
            labels = target["labels"].reshape(-1, cfg.num_classes).to(p.dtype)
            class_cost = ((pos - neg)[:, None] * labels[None]).mean(dim=-1)
        else:
            class_cost = (pos - neg)[:, target["labels"]]
        subjects = target["boxes"].reshape(-1, 4).to(boxes.dtype)
        box_cost = (boxes[:, None] - subjects[None]).abs().sum(dim=-1)
        giou = generalized_iou(box_corners(boxes)[:, None], box_corners(subjects)[None])
        return cfg.cost_class * class_cost + cfg.cost_bbox * box_cost - cfg.cost_giou * giou

    @torch.no_grad()
    def forward(self, outputs: dict[str, Any], targets: list[dict[str, Tensor]]) -> Indices:
        """Per image the matched (query indices, target indices), int64, sorted by query; min(N, n) pairs."""
        indices = []
        for logits, boxes, target in zip(outputs["pred_logits"], outputs["pred_boxes"], targets, strict=True):
            query, subject = linear_sum_assignment(self.cost(logits, boxes, target).double().cpu().numpy())
            pair = (torch.as_tensor(query, dtype=torch.int64), torch.as_tensor(subject, dtype=torch.int64))
            indices.append((pair[0].to(logits.device), pair[1].to(logits.device)))
        return indices


class SetCriterion(nn.Module):
    """The three losses of the last decoder layer, and of each earlier one with its own matching."""

    def __init__(self, cfg: DSCTConfig, class_weights: tuple[float, ...] | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.class_weights = class_weights
        self.matcher = HungarianMatcher(cfg)
        suffixes = ["", *(f"_{i}" for i in range(cfg.dec_layers - 1))]
        weights = {"loss_ce": cfg.loss_class, "loss_bbox": cfg.loss_bbox, "loss_giou": cfg.loss_giou}
        self.weight_dict = {name + suffix: weight for suffix in suffixes for name, weight in weights.items()}

    def forward(self, outputs: dict[str, Any], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """All losses, unweighted.

        Args:
            outputs: ``pred_logits`` (B, N, C'), ``pred_boxes`` (B, N, 4) and ``aux_outputs`` of the model.
            targets: per image ``labels``, (n,) int64 or (n, C) of 0 and 1, and ``boxes`` (n, 4).

        Returns:
            0-dim tensors ``loss_ce``, ``loss_bbox``, ``loss_giou``, and the same with ``_0``, ``_1``, ...
        """
        num_boxes = self.num_boxes(outputs["pred_boxes"], targets)
        layers = {"": outputs} | {f"_{i}": aux for i, aux in enumerate(outputs.get("aux_outputs", ()))}
        losses = {}
        for suffix, layer in layers.items():
            indices = self.matcher(layer, targets)
            losses["loss_ce" + suffix] = self.class_loss(layer["pred_logits"], targets, indices) / num_boxes
            l1, giou = self.box_losses(layer["pred_boxes"], targets, indices)
            losses["loss_bbox" + suffix], losses["loss_giou" + suffix] = l1 / num_boxes, giou / num_boxes
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Sum of ``weight_dict[k] * losses[k]``."""
        return torch.stack([self.weight_dict[name] * loss for name, loss in losses.items()]).sum()

    @staticmethod
    def num_boxes(like: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
        """Ground-truth boxes, matched or not, averaged over processes, at least 1; dtype and device as ``like``."""
        count = like.new_tensor(float(sum(len(target["boxes"]) for target in targets)))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(count)
            count = count / torch.distributed.get_world_size()
        return count.clamp(min=1)

    def class_loss(self, logits: Tensor, targets: list[dict[str, Tensor]], indices: Indices) -> Tensor:
        """Sigmoid focal loss summed over images, queries and classes (Lin et al. 2017).

        ::

            t = 1:  w a (1 - p)^g (-log p)          t = 0:  (1 - a) p^g (-log(1 - p))

        w is the weight of the class, 1 by default and for "is a person".

        A query without a subject has t = 0 throughout. With several classes per subject an extra logit beyond the C
        classes is "is a person", 1 for every matched query; with one class per subject it takes no part.
        """
        cfg = self.cfg
        if not cfg.multi_label:
            logits = logits[..., : cfg.num_classes]
        t = torch.zeros_like(logits)
        for image, (target, (query, subject)) in enumerate(zip(targets, indices, strict=True)):
            labels = target["labels"][subject]
            if cfg.multi_label:
                t[image, query, : cfg.num_classes] = labels.reshape(-1, cfg.num_classes).to(t.dtype)
                t[image, query, cfg.num_classes :] = 1
            else:
                t[image, query, labels] = 1
        p = logits.sigmoid()
        cross_entropy = F.binary_cross_entropy_with_logits(logits, t, reduction="none")
        alpha = t * cfg.focal_alpha + (1 - t) * (1 - cfg.focal_alpha)
        if self.class_weights is not None:
            of_class = t.new_ones(t.shape[-1])
            of_class[: cfg.num_classes] = t.new_tensor(self.class_weights)
            alpha = torch.where(t == 1, alpha * of_class, alpha)
        miss = torch.where(t == 1, 1 - p, p)
        return (alpha * miss**cfg.focal_gamma * cross_entropy).sum()

    @staticmethod
    def box_losses(boxes: Tensor, targets: list[dict[str, Tensor]], indices: Indices) -> tuple[Tensor, Tensor]:
        """Sums over the matched pairs of |box - box'|_1 and of 1 - GIoU, zeros with a graph when nothing matched."""
        pairs = list(zip(targets, indices, strict=True))
        none = boxes.flatten(0, 1)[:0]  # so that there is something to concatenate, even in an empty batch
        predicted = torch.cat([none, *(boxes[image, query] for image, (query, _) in enumerate(indices))])
        wanted = torch.cat([none.detach(), *(t["boxes"][s].to(boxes.dtype) for t, (_, s) in pairs)])
        giou = generalized_iou(box_corners(predicted), box_corners(wanted))
        return (predicted - wanted).abs().sum(), (1 - giou).sum()
