"""Accumulates predictions and annotations of images, then evaluates them under the three protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.metrics.assignment import Bools, Floats, Ints
from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.details.calibration import of_verdict
from dsct.metrics.details.person_table import PersonTable, person_table
from dsct.metrics.details.precision_recall import precision_recall
from dsct.metrics.details.subgroups import subgroups, ungrouped
from dsct.metrics.details.worst_images import worst_images
from dsct.metrics.images import Annotated, ImageId, Images, Predicted, order
from dsct.metrics.means import mean_of_defined, ratio
from dsct.metrics.protocols import PROTOCOLS, Verdict, verdict_by_protocol
from dsct.metrics.results import Details, Evaluation, Intervals, ProtocolResult
from dsct.metrics.thresholds import Rule, fit_thresholds, label_quality

MOST_WORST_IMAGES = 20


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
        self._images: dict[ImageId, tuple[Predicted, Annotated]] = {}

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
                (n, C) of 0 and 1. What else it has of the following is kept for :meth:`person_table` and for the
                groups of people: ``image_id``, the name of the image; ``attributes``, name -> n texts; ``continuous``,
                (n, 3) valence, arousal and dominance, NaN where unknown.
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
            annotated = Annotated.checked(truth, image_id, len(self.class_names), self.multi_label)
            added[image_id] = (Predicted.checked(result, len(self.class_names)), annotated)
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
        twice = sorted(self._images.keys() & other._images.keys(), key=order)
        if twice:
            raise ValueError(f"other must hold other images: {len(twice)} are in both, such as {twice[0]!r}; give each "
                             "process its own share and pass image_ids")  # fmt: skip
        self._images |= other._images

    def compute(
        self,
        bootstrap: Bootstrap | None = None,
        thresholds: Sequence[float] | NDArray[np.float64] | None = None,
        details: bool = False,
    ) -> Evaluation:
        """Evaluates everything added so far.

        Args:
            bootstrap: also computes an interval for every headline value, class and box recall.
            thresholds: (C,) of a multi-label model: also evaluates the labels reported at them.
            details: also computes precision-recall curves, calibration, the scores of groups of people, and the worst
                images.

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
            details=self._details(images, verdicts, bootstrap) if details else None,
        )

    def person_table(
        self, thresholds: Sequence[float] | NDArray[np.float64] | None = None, protocol: str = "official"
    ) -> PersonTable:
        """Every annotated person with the prediction that counts for them.

        Args:
            thresholds: (C,) of a multi-label model: the labels reported at them; by default at ½.
            protocol: decides which prediction counts: under ``"official"`` that of highest overlap, however low, so
                that only people in images without predictions have none; under ``"detection"`` people who were missed
                have none.

        Raises:
            ValueError: the protocol is unknown, or there is not one threshold per class.
        """
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
        images = self._stacked()
        verdict = verdict_by_protocol(images, self.nms_iou)[protocol]
        return person_table(images, verdict, protocol, self.class_names, self.multi_label, thresholds)

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
            people=len(verdict.person_labels),
            chance_by_subjects={
                name: verdict.within(chosen > 0).chance(self.multi_label)
                for name, chosen in zip(buckets, subsets[1:], strict=True)
            },
        )

    def _details(self, images: Images, verdicts: dict[str, Verdict], bootstrap: Bootstrap | None) -> Details:
        official = verdicts["official"]
        return Details(
            {name: precision_recall(verdict, self.class_names) for name, verdict in verdicts.items()},
            of_verdict(official, self.class_names, self.multi_label),
            subgroups(images, official, self.multi_label, bootstrap),
            worst_images(images, official, MOST_WORST_IMAGES),
            ungrouped(images),
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
        return Images.stack(self._images, len(self.class_names))


def _buckets(counts: Ints) -> dict[str, Bools]:
    """Images by number of people, without the empty buckets."""
    buckets = {str(people): counts == people for people in range(1, 5)} | {"5+": counts >= 5}
    return {name: chosen for name, chosen in buckets.items() if chosen.any()}


def _recall(found: Ints, counts: Ints, weights: Floats) -> Floats:
    """(R,) share of people found under each weighting (R, I) of the images."""
    return ratio(weights @ found, weights @ counts)
