"""Matching of predictions with ground truth, and the training losses (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig, require_config
from dsct.sound_values import require_numbers

Outputs = Mapping[str, Any]
Targets = Sequence[Mapping[str, Any]]


class HungarianMatcher(nn.Module):
    """One-to-one assignment of least cost between the N queries and the subjects of each image.

    The cost of a pair is ``cost_class`` times the class cost of the focal loss, plus ``cost_bbox`` times the L1
    distance of the boxes as centre and size, minus ``cost_giou`` times their generalised IoU. `focal_alpha` and
    `focal_gamma` are those of the loss. The assignment is exact and deterministic.

    Args:
        cfg: the model's configuration.

    Example:
        >>> import dsct
        >>> cfg = dsct.DSCTConfig.tiny()
        >>> outputs = {"pred_logits": torch.zeros(1, 2, 7), "pred_boxes": torch.tensor([[[0.2] * 4, [0.6] * 4]])}
        >>> targets = [{"labels": torch.tensor([3]), "boxes": torch.tensor([[0.6, 0.6, 0.5, 0.5]])}]
        >>> dsct.HungarianMatcher(cfg)(outputs, targets)
        [(tensor([1]), tensor([0]))]
    """

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        self.cfg = require_config(cfg, "HungarianMatcher")

    @torch.no_grad()
    def forward(self, outputs: Outputs, targets: Targets) -> list[tuple[Tensor, Tensor]]:
        """Matches the last decoder layer.

        Args:
            outputs: ``pred_logits`` (B, N, C') and ``pred_boxes`` (B, N, 4) cxcywh in [0, 1].
            targets: as for `SetCriterion`.

        Returns:
            Per image (query indices, target indices), int64 on the device of the outputs, sorted by query;
            min(N, n) pairs.

        Raises:
            TypeError, ValueError, NotImplementedError: as for `SetCriterion`.
        """
        logits, boxes = _output(outputs, "outputs")
        return _dsct.hungarian_matcher(self.cfg.native, [logits], [boxes], _pairs(targets))


class SetCriterion(nn.Module):
    """The three losses of every decoder layer, each layer with its own matching.

    ``loss_ce`` is the sigmoid focal loss summed over all queries and classes, ``loss_bbox`` the L1 distance and
    ``loss_giou`` 1 − GIoU of matched boxes; all are divided by the number of ground-truth boxes, matched or not. In a
    ``torch.distributed`` process group that is the number of all processes together, at least 1, divided by the
    number of processes, so that the mean over processes is the loss of their images as one batch. Half-precision
    outputs are widened to float32.

    With `class_weights` the part of ``loss_ce`` that falls on a class which the subject of a query shows is multiplied
    by the weight of that class, like ``pos_weight`` in torch's losses: missing a rare class costs more, claiming it
    wrongly costs as much as before. The matching does not change.

    Attributes:
        matcher: the `HungarianMatcher` of the same configuration.
        weight_dict: the weight of every loss in `total`.
        class_weights: (C,) float32, or None.

    Args:
        cfg: the model's configuration.
        class_weights: C positive numbers, as of :func:`dsct.train.class_weights`; None weighs all classes equally.

    Raises:
        ValueError: `class_weights` are not C positive numbers.

    Example:
        >>> import dsct
        >>> criterion = dsct.SetCriterion(dsct.DSCTConfig.tiny())
        >>> outputs = {"pred_logits": torch.zeros(1, 2, 7), "pred_boxes": torch.full((1, 2, 4), 0.5)}
        >>> targets = [{"labels": torch.tensor([3]), "boxes": torch.tensor([[0.5, 0.5, 0.5, 0.5]])}]
        >>> losses = criterion(outputs, targets)
        >>> sorted(losses), float(losses["loss_giou"])
        (['loss_bbox', 'loss_ce', 'loss_giou'], 0.0)
        >>> bool(criterion.total(losses) == 8 * losses["loss_ce"])
        True
    """

    class_weights: Tensor | None

    def __init__(self, cfg: DSCTConfig, class_weights: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        self.cfg = require_config(cfg, "SetCriterion")
        of_classes = None if class_weights is None else _class_weights(cfg, class_weights)
        self.register_buffer("class_weights", of_classes, persistent=False)
        self.matcher = HungarianMatcher(cfg)
        weights = {"loss_ce": cfg.loss_class, "loss_bbox": cfg.loss_bbox, "loss_giou": cfg.loss_giou}
        suffixes = ["", *(f"_{layer}" for layer in range(cfg.dec_layers - 1))]
        self.weight_dict = {name + suffix: weight for suffix in suffixes for name, weight in weights.items()}

    def forward(self, outputs: Outputs, targets: Targets, *, num_boxes: float | None = None) -> dict[str, Tensor]:
        """All losses, unweighted.

        Args:
            outputs: ``pred_logits`` (B, N, C'), ``pred_boxes`` (B, N, 4) cxcywh in [0, 1], and ``aux_outputs``, the
                same of every earlier decoder layer, or without it for the last layer only.
            targets: per image ``labels``, (n,) int64 class numbers or, for a multi-label model, (n, C) of 0 and 1, and
                ``boxes`` (n, 4) cxcywh in [0, 1]. n may be 0 and may exceed N. Further keys are ignored.
            num_boxes: divides the losses, for gradients that are accumulated over several calls: the boxes of all
                calls and processes, at least 1, divided by the number of processes. None counts `targets`, over all
                processes, which must then all call.

        Returns:
            0-dim tensors ``loss_ce``, ``loss_bbox``, ``loss_giou`` of the last layer, and with suffix ``_0``, ``_1``, …
            of the earlier ones.

        Raises:
            TypeError: a dtype does not fit, or something is not a tensor.
            ValueError: a shape, device or label does not fit, or a value is not finite, or `num_boxes` is not
                positive; the message names it.
            NotImplementedError: a tensor has no numbers that can be read for the matching: inside a transform of
                ``torch.func``, such as ``grad``, or on the device "meta". ``backward()`` and ``torch.autograd.grad``
                differentiate the losses.
        """
        aux = outputs.get("aux_outputs", ())
        names = [*(f"aux_outputs[{i}]" for i in range(len(aux))), "outputs"]
        layers = [_output(layer, name) for layer, name in zip([*aux, outputs], names, strict=True)]
        logits, boxes = ([layer[i] for layer in layers] for i in (0, 1))
        pairs = _pairs(targets)
        _require_numbers(self.class_weights, "class_weights")
        if num_boxes is None:
            num_boxes = _num_boxes(pairs, logits[-1].device)
        of_layers = _dsct.set_criterion(self.cfg.native, logits, boxes, pairs, num_boxes, self.class_weights)
        suffixes = [*(f"_{layer}" for layer in range(len(aux))), ""]
        return {
            name + suffix: loss
            for name, losses in zip(("loss_ce", "loss_bbox", "loss_giou"), of_layers, strict=True)
            for suffix, loss in zip(suffixes, losses.unbind(), strict=True)
        }

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The training loss: the sum of ``weight_dict[name] * losses[name]``.

        Args:
            losses: what `forward` returned, or part of it.

        Returns:
            A 0-dim tensor.

        Raises:
            ValueError: there is no weight for a loss, or no loss.
        """
        unknown = sorted(losses.keys() - self.weight_dict.keys())
        if unknown or not losses:
            raise ValueError(f"SetCriterion.total: losses must be among {sorted(self.weight_dict)}, got {unknown}")
        stacked = torch.stack(list(losses.values()))
        weights = torch.tensor([self.weight_dict[name] for name in losses], dtype=stacked.dtype, device=stacked.device)
        return (stacked * weights).sum()


def _class_weights(cfg: DSCTConfig, class_weights: Sequence[float] | Tensor) -> Tensor:
    _require_numbers(class_weights, "class_weights")
    wanted = f"SetCriterion: class_weights must be {cfg.num_classes} positive numbers, one per class, got"
    try:
        weights = torch.as_tensor(class_weights, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{wanted} {class_weights!r}") from error
    if weights.shape != (cfg.num_classes,) or not bool((weights.isfinite() & (weights > 0)).all()):
        raise ValueError(f"{wanted} {weights.tolist()}")
    return weights


def _output(outputs: Outputs, name: str) -> tuple[Tensor, Tensor]:
    """Class logits and boxes of one decoder layer."""
    missing = [key for key in ("pred_logits", "pred_boxes") if key not in outputs]
    if missing:
        raise ValueError(f"criterion: {name} must have pred_logits and pred_boxes, lacks {' and '.join(missing)}")
    for key in ("pred_logits", "pred_boxes"):
        _require_tensor(outputs[key], f'{name}["{key}"]')
    return outputs["pred_logits"], outputs["pred_boxes"]


def _pairs(targets: Targets) -> list[tuple[Tensor, Tensor]]:
    """Labels and boxes of every image."""
    if not isinstance(targets, (list, tuple)) or not all(isinstance(target, Mapping) for target in targets):
        raise TypeError(f"criterion: targets must be a list of dicts, one per image, got {_kind(targets)}")
    for i, target in enumerate(targets):
        for key in ("labels", "boxes"):
            if key not in target:
                raise ValueError(f'criterion: targets[{i}] must have "labels" and "boxes", got {sorted(target)}')
            _require_tensor(target[key], f'targets[{i}]["{key}"]')
    return [(target["labels"], target["boxes"]) for target in targets]


def _kind(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {sorted({type(item).__name__ for item in value})}"
    return type(value).__name__


def _require_tensor(value: object, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"criterion: {name} must be a torch.Tensor, got {type(value).__name__}")
    _require_numbers(value, name)


def _require_numbers(value: object, name: str) -> None:
    instead = "match outside (HungarianMatcher), or use torch.autograd.grad or loss.backward() for gradients"
    require_numbers(value, f"criterion: {name}", "matching", instead)


def _num_boxes(pairs: list[tuple[Tensor, Tensor]], device: torch.device) -> float:
    """Ground-truth boxes, matched or not, of all processes and at least 1, divided by the number of processes."""
    count = sum(len(boxes) for _, boxes in pairs)
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return max(float(count), 1.0)
    total = torch.tensor(count, device=device)
    torch.distributed.all_reduce(total)
    return max(float(total.item()), 1.0) / torch.distributed.get_world_size()
