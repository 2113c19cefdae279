"""From the model's outputs to people: boxes in pixels, scores and labels (section 3.3 of the paper, Eq. 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig, require_config
from dsct.sound_values import require_numbers

KEYS = ("boxes", "scores", "probabilities", "labels", "queries")


class PostProcess(nn.Module):
    """Turns the outputs of the last decoder layer into people.

    Class probabilities are sigmoids. The score of a query is the mean of its class probabilities, or of its class
    logits where ``cfg.score == "logit"``.

    Args:
        cfg: the model's configuration.
        threshold: a multi-label model reports the classes whose probability exceeds this: one number, or one per class
            (a sequence or tensor of C). None means 0.5. A multi-class model reports the most probable class.
        nms_iou: of two people in an image that overlap by more than this IoU, the one with the lower score is left out.
        score_threshold: people with a lower score are left out.

    Raises:
        TypeError: `threshold` is no number.
        ValueError: an option is out of range.

    Example:
        >>> import dsct
        >>> post_process = dsct.PostProcess(dsct.DSCTConfig.tiny())
        >>> outputs = {"pred_logits": torch.eye(7)[None, :1], "pred_boxes": torch.tensor([[[0.5, 0.5, 0.2, 0.4]]])}
        >>> person = post_process(outputs, torch.tensor([[100, 200]]))[0]
        >>> person["boxes"].round().tolist(), person["labels"].tolist()
        ([[80.0, 30.0, 120.0, 70.0]], [0])
    """

    def __init__(
        self,
        cfg: DSCTConfig,
        threshold: float | Sequence[float] | Tensor | None = None,
        nms_iou: float | None = None,
        score_threshold: float | None = None,
    ) -> None:
        super().__init__()
        self.cfg = require_config(cfg, "PostProcess")
        try:
            given = [] if threshold is None else torch.as_tensor(threshold, dtype=torch.float64).flatten().tolist()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"PostProcess: threshold must be a number or one per class, got {threshold!r}") from error
        self.threshold: list[float] = given
        self.nms_iou = nms_iou
        self.score_threshold = score_threshold
        if threshold is not None and len(self.threshold) not in (1, cfg.num_classes):
            raise ValueError(f"PostProcess: threshold must be one number or one per class, {cfg.num_classes}, got "
                             f"{len(self.threshold)}")  # fmt: skip
        if not all(0 <= value <= 1 for value in self.threshold):
            raise ValueError(f"PostProcess: threshold must be in [0, 1], got {self.threshold}")
        if nms_iou is not None and not 0 <= nms_iou <= 1:
            raise ValueError(f"PostProcess: nms_iou must be in [0, 1], got {nms_iou}")
        if score_threshold is not None and math.isnan(score_threshold):
            raise ValueError(f"PostProcess: score_threshold must be a number, got {score_threshold}")

    @torch.no_grad()
    def forward(self, outputs: Mapping[str, Any], target_sizes: Tensor) -> list[dict[str, Tensor]]:
        """Finds the people of every image in the outputs.

        Args:
            outputs: ``pred_logits`` (B, N, C') and ``pred_boxes`` (B, N, 4) cxcywh in [0, 1].
            target_sizes: (B, 2), height and width of every image in pixels.

        Returns:
            Per image, on the device of the outputs: ``boxes`` (n, 4) float32 ``x1 y1 x2 y2`` in pixels, clipped to the
            image; ``scores`` (n,) float32; ``probabilities`` (n, C) float32; ``labels``, (n,) int64, or (n, C) bool for
            a multi-label model; ``queries`` (n,) int64, the number of the query that found each person. Without
            `nms_iou` and `score_threshold` n = N in the order of the queries, else those kept, by falling score.

        Raises:
            TypeError: an argument is not a tensor.
            ValueError: a shape does not fit or a prediction is not finite.
            NotImplementedError: an argument has no numbers that can be read: inside a transform of ``torch.func``, or
                on the device "meta".
        """
        logits, boxes = outputs["pred_logits"], outputs["pred_boxes"]
        for name, value in (("pred_logits", logits), ("pred_boxes", boxes), ("target_sizes", target_sizes)):
            require_numbers(value, f"PostProcess: {name}", "PostProcess", "call it on what the transform returns")
        images = _dsct.post_process(
            self.cfg.native,
            logits,
            boxes,
            target_sizes,
            threshold=self.threshold,
            nms_iou=self.nms_iou,
            score_threshold=self.score_threshold,
        )
        return [dict(zip(KEYS, image, strict=True)) for image in images]


def least_score(config: DSCTConfig) -> float:
    """Probabilities that sum to ½ have a mean of ½/C. A mean of logits has no such natural limit."""
    return 0.5 / config.num_classes if config.score == "probability" else -math.inf
