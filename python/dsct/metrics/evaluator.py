"""Accumulates predictions and annotations of images, then evaluates them under the three protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.metrics.assignment import Bools, Floats, Ints
from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.means import mean_of_defined, ratio
from dsct.metrics.protocols import Images, Verdict, verdict_by_protocol
from dsct.metrics.results import Evaluation, Intervals, ProtocolResult
from dsct.metrics.thresholds import Rule, fit_thresholds, label_quality

ImageId = int | str


class Evaluator:
    """Compares predicted with annotated people.

    Every image counts once, whatever the order in which images come. An evaluator can be pickled, so that processes
    share an evaluation: each one fills its own with its share of the images, and one merges them.

    Args:
        class_names: the C classes.
        multi_label: whether a person can show several of them.
        nms_iou: overlap above which the ``paper`` protocol drops the lower-scored of two predictions; the released
            code has 0.01, switched off.
        labels: a description of the annotations; printed with the results.

    Raises:
        ValueError: `nms_iou` is outside [0, 1].

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
        self._images: dict[ImageId, tuple[tuple[Floats, Floats, Floats], tuple[Floats, Bools]]] = {}

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def update(
        self,
        results: Sequence[Mapping[str, Any]],
        ground_truth: Sequence[Mapping[str, Any]],
        image_ids: Sequence[ImageId] | None = None,
    ) -> None:
        """Adds images.

        Args:
            results: per image what ``PostProcess`` returns: ``boxes`` (N, 4) ``x1 y1 x2 y2`` pixels, ``scores`` (N,),
                ``probabilities`` (N, C). N may be 0 and differ between images.
            ground_truth: per image ``boxes`` (n, 4) in the same pixels and ``labels``, (n,) class numbers or
                (n, C) of 0 and 1.
            image_ids: numbers or texts that tell the images apart, needed where evaluators are merged; by default
                they are numbered as they come.

        Raises:
            ValueError: lengths differ, a shape does not fit, a number is not finite, a box ends before it begins, a
                label is not a class number or not 0 or 1, or an image was added before; then nothing is added.
        """
        ids = range(len(self), len(self) + len(results)) if image_ids is None else image_ids
        if not len(results) == len(ground_truth) == len(ids):
            raise ValueError(f"results, ground_truth and image_ids must have one entry per image, got {len(results)}, "
                             f"{len(ground_truth)} and {len(ids)}")  # fmt: skip
        added = {}
        for image_id, result, truth in zip(ids, results, ground_truth, strict=True):
            if image_id in self._images or image_id in added:
                raise ValueError(f"image_ids must not repeat, image {image_id!r} was added before")
            added[image_id] = (self._predicted(result), self._true(truth))
        self._images |= added

    def merge(self, other: Evaluator) -> None:
        """Adds the images of another evaluator, such as that of another process.

        Args:
            other: of the same classes and settings, filled with explicit ``image_ids``.

        Raises:
            TypeError: `other` is not an evaluator.
            ValueError: the settings differ, or both contain the same image.
        """
        if not isinstance(other, Evaluator):
            raise TypeError(f"other must be an Evaluator, got {type(other).__name__}")
        for name in ("class_names", "multi_label", "nms_iou", "labels"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                raise ValueError(f"other must have the same {name}, {mine!r}, got {its!r}")
        twice = sorted(self._images.keys() & other._images.keys(), key=_order)
        if twice:
            raise ValueError(f"other must hold other images: {len(twice)} are in both, such as {twice[0]!r}; give each "
                             "process its own share and pass image_ids")  # fmt: skip
        self._images |= other._images

    def compute(
        self, bootstrap: Bootstrap | None = None, thresholds: Sequence[float] | NDArray[np.float64] | None = None
    ) -> Evaluation:
        """Evaluates everything added so far.

        Args:
            bootstrap: also computes an interval for every headline value, class and box recall.
            thresholds: (C,) of a multi-label model: also evaluates the labels reported at them.

        Returns:
            The evaluation under every protocol; values are NaN where there is nothing to evaluate.

        Raises:
            ValueError: there are thresholds and a person can show one class only, or not one per class.
        """
        if thresholds is not None and not self.multi_label:
            raise ValueError("thresholds must be None for a model of one class per person: the most probable counts")
        images = self._stacked()
        counts = images.is_person.sum(axis=1)
        buckets = _buckets(counts)
        found = (images.found() & images.is_person).sum(axis=1)
        whole = np.ones((1, len(counts)))
        subsets = np.stack([whole[0], *buckets.values()]) if buckets else whole
        recalls = _recall(found, counts, subsets)
        verdicts = verdict_by_protocol(images, self.nms_iou)
        protocols = {name: self._result(name, verdict, subsets, list(buckets)) for name, verdict in verdicts.items()}
        if thresholds is not None:
            for name, verdict in verdicts.items():
                quality = label_quality(verdict.scores, verdict.right, verdict.support, thresholds)
                protocols[name] = protocols[name].with_(label_quality=quality)
        recall_interval = None
        if bootstrap is not None:
            intervals, recall_interval = self._intervals(bootstrap, verdicts, found, counts, buckets)
            protocols = {name: result.with_(intervals=intervals[name]) for name, result in protocols.items()}
        return Evaluation(
            protocols=protocols,
            labels=self.labels,
            num_images=len(counts),
            num_people=int(counts.sum()),
            box_recall=float(recalls[0]),
            box_recall_by_subjects=dict(zip(buckets, recalls[1:].tolist(), strict=True)),
            box_recall_interval=recall_interval,
            bootstrap=bootstrap,
        )

    def fit_thresholds(self, rule: Rule = "break-even") -> NDArray[np.float64]:
        """Per-class thresholds for the predictions that count for the people under the ``official`` protocol.

        Args:
            rule: see :func:`dsct.metrics.fit_thresholds`.

        Returns:
            (C,) float64; 0.5 for a class that nobody shows.

        Raises:
            ValueError: a person can show one class only, or the rule is unknown.
        """
        if not self.multi_label:
            raise ValueError("thresholds are for multi-label models; of one class per person the most probable counts")
        verdict = verdict_by_protocol(self._stacked(), self.nms_iou)["official"]
        return fit_thresholds(verdict.scores, verdict.right, verdict.support, rule)

    def _result(self, protocol: str, verdict: Verdict, subsets: Floats, buckets: list[str]) -> ProtocolResult:
        """`subsets` (1 + B, I) select all images, then those of each bucket."""
        precision = verdict.average_precision(subsets if self.multi_label else subsets[:1])
        values = [mean_of_defined(row) for row in precision]
        if not self.multi_label:
            values = verdict.headline(subsets, multi_label=False)[0].tolist()
        return ProtocolResult(
            protocol,
            self.class_names,
            precision[0],
            verdict.support,
            None if self.multi_label else verdict.confusion(),
            dict(zip(buckets, values[1:], strict=True)),
        )

    def _intervals(
        self, bootstrap: Bootstrap, verdicts: dict[str, Verdict], found: Ints, counts: Ints, buckets: dict[str, Bools]
    ) -> tuple[dict[str, Intervals], Floats]:
        """Of every protocol, and of the box recall (2,)."""
        samples: dict[str, list[Floats]] = {name: [] for name in verdicts}  # per block (R, 1 + C + B)
        recalls = []
        for weights in bootstrap.weights(len(counts)):
            recalls.append(_recall(found, counts, weights))
            for name, verdict in verdicts.items():
                value, per_class = verdict.headline(weights, self.multi_label)
                parts = [verdict.within(chosen).headline(weights[:, chosen], self.multi_label)[0]
                         for chosen in buckets.values()]  # fmt: skip
                samples[name].append(np.column_stack([value, per_class, *parts]))
        ends = {name: bootstrap.interval(np.concatenate(blocks)) for name, blocks in samples.items()}
        classes = len(self.class_names)
        intervals = {
            name: Intervals(rows[0], rows[1 : 1 + classes], dict(zip(buckets, rows[1 + classes :], strict=True)))
            for name, rows in ends.items()
        }
        return intervals, bootstrap.interval(np.concatenate(recalls))

    def _stacked(self) -> Images:
        """In the order of the ids, so that no result depends on the order in which images were added."""
        ordered = [self._images[image_id] for image_id in sorted(self._images, key=_order)]
        return Images.stack([one for one, _ in ordered], [one for _, one in ordered], len(self.class_names))

    def _predicted(self, result: Mapping[str, Any]) -> tuple[Floats, Floats, Floats]:
        boxes = _boxes(result, "predicted")
        probabilities = _array(result["probabilities"])
        if probabilities.shape != (len(boxes), len(self.class_names)):
            raise ValueError(f"probabilities must be ({len(boxes)}, {len(self.class_names)}), one column per "
                             f"class, got {probabilities.shape}")  # fmt: skip
        scores = _array(result["scores"])
        if scores.shape != (len(boxes),):
            raise ValueError(f"scores must be ({len(boxes)},), one per predicted box, got {scores.shape}")
        if not (np.isfinite(scores).all() and np.isfinite(probabilities).all()):
            raise ValueError("scores and probabilities must be finite numbers, got NaN or infinity")
        return boxes, scores, probabilities

    def _true(self, truth: Mapping[str, Any]) -> tuple[Floats, Bools]:
        boxes, labels = _boxes(truth, "true"), _array(truth["labels"])
        people, classes = len(boxes), len(self.class_names)
        if self.multi_label:
            if labels.shape != (people, classes):
                raise ValueError(f"labels must be ({people}, {classes}) of 0 and 1, got {labels.shape}")
            if not np.isin(labels, (0, 1)).all():
                raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(labels, (0, 1)).tolist()}")
            return boxes, labels > 0
        if labels.shape != (people,):
            raise ValueError(f"labels must be ({people},) class numbers, got {labels.shape}")
        if not np.isin(labels, np.arange(classes)).all():
            raise ValueError(f"labels must be whole numbers in 0…{classes - 1}, got {labels.tolist()}")
        return boxes, labels[:, None] == np.arange(classes)


def _order(image_id: ImageId) -> tuple[bool, int, str]:
    """Sorts numbers before texts."""
    return (True, 0, image_id) if isinstance(image_id, str) else (False, image_id, "")


def _buckets(counts: Ints) -> dict[str, Bools]:
    """Images by number of people, without the empty buckets."""
    buckets = {str(people): counts == people for people in range(1, 5)} | {"5+": counts >= 5}
    return {name: chosen for name, chosen in buckets.items() if chosen.any()}


def _recall(found: Ints, counts: Ints, weights: Floats) -> Floats:
    """(R,) share of people found under each weighting (R, I) of the images."""
    return ratio(weights @ found, weights @ counts)


def _boxes(people: Mapping[str, Any], which: str) -> Floats:
    """(N, 4) that can be compared; NaN marks padding later, so no box may have it."""
    boxes = _array(people["boxes"]).reshape(-1, 4)
    bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if bad.any():
        raise ValueError(
            f"{which} boxes must be finite x1 y1 x2 y2 with x1 ≤ x2 and y1 ≤ y2, got {boxes[bad][0].tolist()}"
        )
    return boxes


def _array(values: Any) -> NDArray[np.float64]:
    """float64 from a tensor on any device, an array or a list."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
