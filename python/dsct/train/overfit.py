"""Overfits a few images: the quickest way to see that data, boxes and labels make sense."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dsct.config import DSCTConfig
from dsct.criterion import SetCriterion
from dsct.data.collate import Batch, collate
from dsct.data.records import Annotations, Target
from dsct.data.transforms import evaluation_transform
from dsct.metrics import Evaluation, Evaluator
from dsct.metrics.inference import in_pixels
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view
from dsct.post_process import PostProcess
from dsct.train.config import TrainConfig
from dsct.train.loading.people import require_people
from dsct.train.processes.distributed import Processes
from dsct.train.resume import seed_everything
from dsct.train.step import OptimizerStep

if TYPE_CHECKING:
    from dsct.data.annotated import AnnotatedDataset
    from dsct.data.synthetic import SyntheticDataset

#: What counts as learnt: share of people found (IoU 0.5), and of right labels.
LEARNT = 0.9
CHECK_EVERY = 25
#: People of an image that are learnt: time and memory grow with the square of the queries that find them.
MOST_PEOPLE = 300


@dataclass(frozen=True)
class OverfitResult:
    """The result of the attempt.

    Attributes:
        indices: of the images in the data set.
        losses: total loss of every step.
        evaluation: of the images that were overfitted.
        model: the trained model, in evaluation mode.
    """

    indices: list[int]
    losses: list[float]
    evaluation: Evaluation
    model: DSCT

    @property
    def boxes_learnt(self) -> bool:
        """Whether nearly everybody is found."""
        return self.evaluation.box_recall >= LEARNT

    @property
    def labels_learnt(self) -> bool:
        """Whether nearly all labels are right."""
        return self.evaluation["official"].value >= LEARNT

    @property
    def verdict(self) -> str:
        """One or two sentences for the person who owns the data."""
        read = self.evaluation["official"]
        numbers = f"box recall {self.evaluation.box_recall:.0%}, {read.metric} {read.value:.0%}"
        if self.boxes_learnt and self.labels_learnt:
            return f"learnt: {numbers}. The images, boxes and labels can be learnt from."
        if self.boxes_learnt:
            return (f"boxes learnt, labels not: {numbers}. Do people who look alike have different labels? Are the "
                    "same people annotated twice?")  # fmt: skip
        if self.labels_learnt:
            return (f"labels learnt, boxes not: {numbers}. Are boxes x1 y1 x2 y2 in pixels of the upright image? "
                    "Are they very small? Try a larger --short-side.")  # fmt: skip
        return f"not learnt: {numbers}. Look at the boxes on the page first, then try more --steps."


def overfit(
    data: AnnotatedDataset | SyntheticDataset,
    *,
    images: int = 8,
    steps: int = 600,
    short_side: int = 192,
    lr: float = 2e-3,
    seed: int = 0,
    config: DSCTConfig | None = None,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> OverfitResult:
    """Trains a small model on a few images, without augmentation, until it has overfitted them.

    Args:
        data: any split; images with people are chosen from it at random.
        images: how many images.
        steps: maximum number of steps; training ends earlier once 90 % of people and labels are right.
        short_side: short side of the images, in pixels.
        lr: learning rate.
        seed: for the choice of images and the weights.
        config: the model; by default ``DSCTConfig.tiny`` for the classes of the data and the number of people. Then
            the first `MOST_PEOPLE` people of an image are learnt.
        device: where to compute.
        on_step: called after every step with the steps done and the loss.

    Returns:
        The result.

    Raises:
        TypeError: `data` has no annotations.
        ValueError: no image has people, the boxes are no pixels, or an argument is out of range.
        FloatingPointError: the loss is not finite.

    Example:
        >>> from dsct.data import SyntheticDataset
        >>> result = overfit(SyntheticDataset("train", 4, image_size=(64, 48)), images=2, steps=1, short_side=48)
        >>> len(result.losses), len(result.indices)
        (1, 2)
    """
    for name, value in (("images", images), ("steps", steps), ("short_side", short_side)):
        if value < 1:
            raise ValueError(f"overfit: {name} must be at least 1, got {value}")
    if not hasattr(data, "annotations"):
        raise TypeError(f"overfit: data must be a data set with annotations(i), got {type(data).__name__}")
    require_people(data)
    indices = _images_with_people(data, images, seed)
    long_side = 2 * short_side
    transform, previous = evaluation_transform(short_side, long_side), data.transforms
    data.transforms = transform
    try:
        batch = collate([data[index] for index in indices])
    finally:
        data.transforms = previous
    if config is None:
        batch = batch._replace(targets=[_first_people(target) for target in batch.targets])
    seed_everything(seed)
    model = _model_for(data, batch.targets, config)
    model.preprocess = {"short_side": short_side, "long_side": long_side}
    losses, evaluation = _learn(model.to(device), batch.to(device), steps, lr, on_step)
    return OverfitResult(indices, losses, evaluation, model.eval())


def first_people(annotations: Annotations) -> Annotations:
    """The people of an image who are learnt, without what is known beside boxes and labels if that is not everybody.

    Example:
        >>> import numpy as np
        >>> crowd = Annotations(None, np.tile([[10, 20, 50, 80]], (400, 1)), np.zeros(400), (64, 96))
        >>> len(first_people(crowd))
        300
    """
    if len(annotations) <= MOST_PEOPLE:
        return annotations
    boxes, labels = annotations.boxes[:MOST_PEOPLE], annotations.labels[:MOST_PEOPLE]
    return dataclasses.replace(annotations, boxes=boxes, labels=labels, continuous=None, attributes={})


def _first_people(target: Target) -> Target:
    return {**target, "boxes": target["boxes"][:MOST_PEOPLE], "labels": target["labels"][:MOST_PEOPLE]}


def _images_with_people(data: Any, images: int, seed: int) -> list[int]:
    chosen: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(data)).tolist():
        if len(data.annotations(index)):
            chosen.append(index)
        if len(chosen) == images:
            return chosen
    if not chosen:
        raise ValueError(f"overfit: data must contain at least one image with people, got none among {len(data)}")
    return chosen


def _model_for(data: Any, targets: Sequence[Target], config: DSCTConfig | None) -> DSCT:
    if config is None:
        people = max(len(target["boxes"]) for target in targets)
        config = DSCTConfig.tiny(
            num_classes=len(data.class_names),
            class_names=tuple(data.class_names),
            multi_label=data.multi_label,
            num_subject_queries=max(8, people + 2),
        )
    return DSCT(config)


def _learn(
    model: DSCT, batch: Batch, steps: int, lr: float, on_step: Callable[[int, float], None] | None
) -> tuple[list[float], Evaluation]:
    recipe = TrainConfig.tiny(lr=lr, warmup_steps=20, epochs=steps, batch_size=len(batch.images), lr_drop=steps)
    step = OptimizerStep(model, SetCriterion(model.config), recipe, 1, Processes(device=batch.images.device))
    losses: list[float] = []
    evaluation = None
    for done in range(1, steps + 1):
        losses.append(step([batch])["loss"])
        if on_step is not None:
            on_step(done, losses[-1])
        if done % CHECK_EVERY == 0 or done == steps:
            evaluation = _evaluate(model, batch)
            if evaluation.box_recall >= LEARNT and evaluation["official"].value >= LEARNT:
                break
    assert evaluation is not None
    return losses, evaluation


@torch.no_grad()
def _evaluate(model: DSCT, batch: Batch) -> Evaluation:
    evaluator = Evaluator(model.config.names, model.config.multi_label, labels="overfitted images")
    sizes = torch.stack([target["orig_size"] for target in batch.targets])
    found = PostProcess(model.config)(evaluation_view(model)(batch.images, batch.mask), sizes)
    evaluator.update(found, [in_pixels(target) for target in batch.targets])
    return evaluator.compute()
