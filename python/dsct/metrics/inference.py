"""Runs a model over a data set and judges its predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.ops import box_convert

from dsct.data.collate import Batch, collate
from dsct.data.records import Dataset, Target
from dsct.metrics.evaluator import Evaluator
from dsct.metrics.results import Evaluation

Outputs = dict[str, Any]
PostProcess = Callable[[Outputs, torch.Tensor], list[dict[str, torch.Tensor]]]


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    data: Dataset,
    post_process: PostProcess,
    evaluator: Evaluator,
    *,
    batch_size: int = 8,
    workers: int = 0,
    device: torch.device | str = "cpu",
    on_batch: Callable[[Outputs, Batch], None] | None = None,
) -> Evaluation:
    """Predicts every image of a data set and compares with its annotations.

    The model is in evaluation mode meanwhile and gets its mode back. No random number is drawn.

    Args:
        model: maps images (B, 3, H, W) and a mask to outputs; already on `device`.
        data: with an evaluation transform, so that ``boxes`` are fractions of the picture.
        post_process: outputs and sizes (B, 2) height, width -> per image boxes in pixels, scores, probabilities.
        evaluator: fresh; collects the predictions.
        batch_size: images per forward pass.
        workers: processes that load images.
        device: where the batches go.
        on_batch: called with outputs and batch, for instance to add up losses or to show progress.

    Returns:
        The evaluation.
    """
    loader: DataLoader[Batch] = DataLoader(
        data,  # type: ignore[arg-type]  # the collate function turns samples into a Batch
        batch_size,
        num_workers=workers,
        collate_fn=collate,
        generator=torch.Generator(),
    )
    was_training = model.training
    model.eval()
    try:
        for batch in loader:
            on_device = batch.to(device)
            outputs = model(on_device.images, on_device.mask)
            sizes = torch.stack([target["orig_size"] for target in on_device.targets])
            evaluator.update(post_process(outputs, sizes), [in_pixels(target) for target in batch.targets])
            if on_batch is not None:
                on_batch(outputs, on_device)
    finally:
        model.train(was_training)
    return evaluator.compute()


def in_pixels(target: Target) -> Target:
    """The target with ``boxes`` as ``x1 y1 x2 y2`` in pixels of the original picture.

    Args:
        target: ``boxes`` (n, 4) cxcywh in [0, 1] of the whole picture, ``orig_size`` (2,) height and width.
    """
    height, width = target["orig_size"].tolist()
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    return {**target, "boxes": box_convert(target["boxes"].cpu(), "cxcywh", "xyxy") * scale}
