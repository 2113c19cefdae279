"""Accumulates predictions and annotations, then judges them under the three protocols.

``official``: every person takes the prediction of highest overlap, however low; widths, heights and intersections
    count both border pixels (the released evaluation). Missed people and false alarms cost nothing.
``paper``: duplicate removal first (§4.1), then the same.
``detection``: a prediction counts only from an IoU of 0.5 on, for one person at most; a person left over is a miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.metrics import assignment
from dsct.metrics.assignment import Bools, Floats, Ints
from dsct.metrics.average_precision import average_precision
from dsct.metrics.results import Evaluation, ProtocolResult

PROTOCOLS = ("official", "paper", "detection")
MATCH_IOU = 0.5


class Evaluator:
    """Compares predicted with annotated people.

    Args:
        class_names: the C classes.
        multi_label: whether a person can show several of them.
        nms_iou: overlap from which the ``paper`` protocol drops the lower-scored of two predictions; the released
            code holds, switched off, 0.01.
        labels: which annotations these are, in words; printed with the results.

    Example:
        >>> import torch
        >>> evaluator = Evaluator(("calm", "angry"), multi_label=False)
        >>> box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        >>> found = {"boxes": box, "scores": torch.tensor([0.5]), "probabilities": torch.tensor([[0.2, 0.8]])}
        >>> evaluator.update([found], [{"boxes": box, "labels": torch.tensor([1])}])
        >>> evaluator.compute()["official"].value
        1.0
    """

    def __init__(
        self, class_names: Sequence[str], multi_label: bool, *, nms_iou: float = 0.5, labels: str = "as given"
    ) -> None:
        if not 0 <= nms_iou <= 1:
            raise ValueError(f"nms_iou must be in [0, 1], got {nms_iou}")
        self.class_names = tuple(class_names)
        self.multi_label = multi_label
        self.nms_iou = nms_iou
        self.labels = labels
        self._predicted: list[tuple[Floats, Floats, Floats]] = []
        self._true: list[tuple[Floats, Bools]] = []

    def update(self, results: Sequence[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]]) -> None:
        """Adds images.

        Args:
            results: per image what ``PostProcess`` returns: ``boxes`` (N, 4) ``x1 y1 x2 y2`` pixels, ``scores`` (N,),
                ``probabilities`` (N, C). N may be 0 and differ between images.
            ground_truth: per image ``boxes`` (n, 4) in the same pixels and ``labels``, (n,) class numbers or
                (n, C) of 0 and 1.

        Raises:
            ValueError: the two differ in length, a shape does not fit or a label is out of range.
        """
        if len(results) != len(ground_truth):
            raise ValueError(f"results and ground_truth must have one entry per image, got {len(results)} and "
                             f"{len(ground_truth)}")  # fmt: skip
        for result, truth in zip(results, ground_truth, strict=True):
            boxes = _array(result["boxes"]).reshape(-1, 4)
            probabilities = _array(result["probabilities"])
            if probabilities.shape != (len(boxes), len(self.class_names)):
                raise ValueError(f"probabilities must be ({len(boxes)}, {len(self.class_names)}), one column per "
                                 f"class, got {probabilities.shape}")  # fmt: skip
            true_boxes = _array(truth["boxes"]).reshape(-1, 4)
            self._predicted.append((boxes, _array(result["scores"]).reshape(len(boxes)), probabilities))
            self._true.append((true_boxes, self._one_hot(_array(truth["labels"]), len(true_boxes))))

    def compute(self) -> Evaluation:
        """Judges everything added so far.

        Returns:
            The evaluation under every protocol; values are NaN where there is nothing to judge.
        """
        images = _Images.stack(self._predicted, self._true, len(self.class_names))
        everyone = ~np.isnan(images.boxes[..., 0])
        released_iou = assignment.box_iou(images.boxes, images.true_boxes, pixel=1.0)
        without_duplicates = assignment.keep_after_nms(images.boxes, images.scores, self.nms_iou)
        judged = {
            "official": _judge_by_person(images, assignment.nearest_prediction(released_iou, everyone)),
            "paper": _judge_by_person(images, assignment.nearest_prediction(released_iou, without_duplicates)),
            "detection": _judge_by_prediction(images),
        }
        found = assignment.box_iou(images.boxes, images.true_boxes).max(axis=1, initial=0.0) >= MATCH_IOU
        counts = images.is_person.sum(axis=1)
        return Evaluation(
            protocols={name: self._result(name, verdict, counts) for name, verdict in judged.items()},
            labels=self.labels,
            num_images=len(counts),
            num_people=int(counts.sum()),
            box_recall=_share(found[images.is_person]),
            box_recall_by_subjects={
                bucket: _share(found[chosen][images.is_person[chosen]]) for bucket, chosen in _buckets(counts).items()
            },
        )

    def _result(self, protocol: str, verdict: _Verdict, counts: Ints) -> ProtocolResult:
        whole = self._score(protocol, verdict, np.ones(len(counts), dtype=bool))
        by_subjects = {
            bucket: self._score(protocol, verdict, chosen).value for bucket, chosen in _buckets(counts).items()
        }
        return ProtocolResult(
            protocol, self.class_names, whole.average_precision, whole.support, whole.confusion, by_subjects
        )

    def _score(self, protocol: str, verdict: _Verdict, chosen: Bools) -> ProtocolResult:
        candidates, people = chosen[verdict.candidate_image], chosen[verdict.person_image]
        labels = verdict.person_labels[people]
        support = labels.sum(axis=0)
        confusion = None
        if not self.multi_label:
            predicted = verdict.predicted[people]
            confusion = np.zeros((len(self.class_names),) * 2, dtype=np.int64)
            true = labels.argmax(axis=1)
            np.add.at(confusion, (true[predicted >= 0], predicted[predicted >= 0]), 1)
        precision = average_precision(verdict.scores[candidates], verdict.right[candidates], support)
        return ProtocolResult(protocol, self.class_names, precision, support, confusion)

    def _one_hot(self, labels: Floats, people: int) -> Bools:
        classes = len(self.class_names)
        if self.multi_label:
            if labels.shape != (people, classes):
                raise ValueError(f"labels must be ({people}, {classes}) of 0 and 1, got {labels.shape}")
            return labels > 0
        if labels.shape != (people,):
            raise ValueError(f"labels must be ({people},) class numbers, got {labels.shape}")
        if people and (labels.min() < 0 or labels.max() >= classes):
            raise ValueError(f"labels must be in 0…{classes - 1}, got {labels.tolist()}")
        one_hot: Bools = labels[:, None] == np.arange(classes)
        return one_hot


@dataclass(frozen=True)
class _Images:
    """All images stacked; NaN boxes are padding."""

    boxes: Floats  # (I, N, 4)
    scores: Floats  # (I, N)
    probabilities: Floats  # (I, N, C)
    true_boxes: Floats  # (I, n, 4)
    true_labels: Bools  # (I, n, C)

    @classmethod
    def stack(
        cls, predicted: list[tuple[Floats, Floats, Floats]], true: list[tuple[Floats, Bools]], classes: int
    ) -> _Images:
        if not predicted:
            none = np.zeros((0, 0))
            return cls(none[..., None].repeat(4, -1), none, np.zeros((0, 0, classes)), np.zeros((0, 0, 4)),
                       np.zeros((0, 0, classes), dtype=bool))  # fmt: skip
        boxes, scores, probabilities = zip(*predicted, strict=True)
        true_boxes, true_labels = zip(*true, strict=True)
        return cls(
            assignment.pad(boxes, np.nan),
            assignment.pad(scores, 0.0),
            assignment.pad(probabilities, 0.0),
            assignment.pad(true_boxes, np.nan),
            assignment.pad(true_labels, 0).astype(bool),
        )

    @property
    def is_person(self) -> Bools:
        """(I, n) False for padding."""
        return ~np.isnan(self.true_boxes[..., 0])


@dataclass(frozen=True)
class _Verdict:
    """Candidates for the precision-recall curves, and what was predicted for each person."""

    scores: Floats  # (K, C)
    right: Bools  # (K, C)
    candidate_image: Ints  # (K,)
    person_labels: Bools  # (S, C)
    predicted: Ints  # (S,) class, -1 for a miss
    person_image: Ints  # (S,)


def _judge_by_person(images: _Images, chosen: Ints) -> _Verdict:
    """One candidate per person: the prediction `chosen` (I, n) for it, unless that is -1."""
    image, person = np.nonzero(images.is_person)
    query = chosen[image, person]
    labels = images.true_labels[image, person]
    answered = query >= 0
    scores = images.probabilities[image[answered], query[answered]]
    predicted = np.full(len(image), -1)
    predicted[answered] = scores.argmax(axis=1)
    return _Verdict(scores, labels[answered], image[answered], labels, predicted, image)


def _judge_by_prediction(images: _Images) -> _Verdict:
    """Every prediction is a candidate for every class; it is right if it finds a free person who shows the class."""
    iou = assignment.box_iou(images.boxes, images.true_boxes)
    close = (iou >= MATCH_IOU)[..., None]
    per_class = assignment.match_by_score(images.probabilities, close & images.true_labels[:, None], iou)
    image, query = np.nonzero(~np.isnan(images.boxes[..., 0]))

    # Whoever is found at all, whatever the class, is read by the prediction that found them.
    any_class = assignment.match_by_score(images.scores[..., None], close, iou)[..., 0]
    chosen = np.full(images.is_person.shape, -1)
    hit_image, hit_query = np.nonzero(any_class >= 0)
    chosen[hit_image, any_class[hit_image, hit_query]] = hit_query
    person = _judge_by_person(images, chosen)
    return _Verdict(
        images.probabilities[image, query],
        per_class[image, query] >= 0,
        image,
        person.person_labels,
        person.predicted,
        person.person_image,
    )


def _buckets(counts: Ints) -> dict[str, Bools]:
    """Images by number of people, without the empty buckets."""
    buckets = {str(people): counts == people for people in range(1, 5)} | {"5+": counts >= 5}
    return {name: chosen for name, chosen in buckets.items() if chosen.any()}


def _share(hits: Bools) -> float:
    return float(hits.mean()) if hits.size else float("nan")


def _array(values: Any) -> NDArray[np.float64]:
    """float64 from a tensor on any device, an array or a list."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
