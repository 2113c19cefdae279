"""What an evaluation reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.details.calibration import Calibration
from dsct.metrics.details.precision_recall import PrecisionRecall
from dsct.metrics.details.subgroups import Subgroup
from dsct.metrics.details.worst_images import ImageErrors
from dsct.metrics.means import chance_of, mean_of_defined, ratio
from dsct.metrics.thresholds import LabelQuality


@dataclass(frozen=True, eq=False)
class Intervals:
    """Bootstrap intervals of one protocol's headline values: lower and upper end.

    Attributes:
        value: (2,) of the headline value.
        per_class: (C, 2) of each class.
        by_subjects: (2,) by number of people in the image.

    Example:
        >>> Intervals(value=np.array([0.4, 0.6]), per_class=np.array([[0.4, 0.6]]), by_subjects={}).value
        array([0.4, 0.6])
    """

    value: NDArray[np.float64]
    per_class: NDArray[np.float64]
    by_subjects: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Throughput:
    """How long predicting took.

    Attributes:
        images: predicted.
        seconds: in total: loading, model, post-processing.
        model_seconds: of these, for the model and its post-processing.

    Example:
        >>> measured = Throughput(images=20, seconds=4.0, model_seconds=3.0)
        >>> measured.images / measured.seconds
        5.0
    """

    images: int
    seconds: float
    model_seconds: float

    @property
    def images_per_second(self) -> float:
        """In total; NaN if nothing was predicted."""
        return self.images / self.seconds if self.images else float("nan")


@dataclass(frozen=True, eq=False)
class ProtocolResult:
    """The numbers of one protocol.

    Attributes:
        protocol: its name, one of :data:`dsct.metrics.PROTOCOLS`.
        class_names: the C classes.
        average_precision: (C,) non-interpolated average precision, NaN for a class that nobody shows.
        support: (C,) people who show the class.
        confusion: (C, C) people by true (row) and predicted (column) class; ``None`` when a person can show several.
        by_subjects: headline value by number of people in the image: keys ``"1"``, ``"2"``, ``"3"``, ``"4"``,
            ``"5+"``, only those that occur (paper, Tables 4 and 12).
        intervals: of the headline values, if requested.
        label_quality: precision and recall of the labels reported at thresholds, if there were any.
        people: all people, whatever they show.
        chance_by_subjects: `chance` by number of people in the image.

    Example:
        >>> import torch
        >>> from dsct.metrics import Evaluator
        >>> evaluator = Evaluator(("calm", "angry"), multi_label=False)
        >>> box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        >>> found = {"boxes": box, "scores": torch.tensor([0.5]), "probabilities": torch.tensor([[0.2, 0.8]])}
        >>> evaluator.update([found], [{"boxes": box, "labels": torch.tensor([1])}])
        >>> evaluator.compute()["official"].support
        array([0, 1])
    """

    protocol: str
    class_names: tuple[str, ...]
    average_precision: NDArray[np.float64]
    support: NDArray[np.int64]
    confusion: NDArray[np.int64] | None
    by_subjects: Mapping[str, float] = field(default_factory=dict)
    intervals: Intervals | None = None
    label_quality: LabelQuality | None = None
    people: int = 0
    chance_by_subjects: Mapping[str, float] = field(default_factory=dict)

    def with_(self, **changes: Any) -> ProtocolResult:
        """A copy with other attributes."""
        return replace(self, **changes)

    @property
    def metric(self) -> str:
        """Name of the headline value: ``"accuracy"`` with one emotion per person, else ``"mAP"``."""
        return "mAP" if self.confusion is None else "accuracy"

    @property
    def class_metric(self) -> str:
        """Name of the values in `per_class`: ``"AP"`` or ``"accuracy"``."""
        return "AP" if self.confusion is None else self.metric

    @property
    def value(self) -> float:
        """The headline value in [0, 1], NaN when there is nothing to evaluate."""
        return self.on(self.class_names)

    @property
    def prevalence(self) -> NDArray[np.float64]:
        """(C,) share of the people who show the class: what random scores reach as its average precision."""
        return ratio(self.support.astype(np.float64), np.full(self.support.shape, self.people))

    @property
    def chance(self) -> float:
        """What needs no model, beside the headline value; NaN without people.

        For accuracy the share of the most frequent class, for mAP the mean `prevalence` of the classes that occur:
        random scores reach it under ``official`` and ``paper``; under ``detection`` where all boxes are right besides.
        """
        return chance_of(self.support, self.people, multi_label=self.confusion is None)

    @property
    def mean_average_precision(self) -> float:
        """Mean of `average_precision` over the classes that occur."""
        return mean_of_defined(self.average_precision)

    @property
    def per_class(self) -> NDArray[np.float64]:
        """(C,) headline value of each class: its average precision, or the share of its people that are recognised."""
        if self.confusion is None:
            return self.average_precision
        right = self.confusion.diagonal().astype(np.float64)
        return ratio(right, self.support)

    @property
    def missed(self) -> NDArray[np.int64] | None:
        """(C,) people of each class to whom no prediction was assigned; ``None`` when `confusion` is."""
        return None if self.confusion is None else self.support - self.confusion.sum(axis=1)

    def on(self, classes: Sequence[str]) -> float:
        """The headline value over the people (or columns) of some classes only.

        Args:
            classes: class names.

        Returns:
            Accuracy over the people whose true class is among them, or the mean of their average precisions.

        Raises:
            ValueError: a name is unknown.
        """
        unknown = [name for name in classes if name not in self.class_names]
        if unknown:
            raise ValueError(f"classes must be among {list(self.class_names)}, got {unknown}")
        chosen = [self.class_names.index(name) for name in classes]
        if self.confusion is None:
            return mean_of_defined(self.average_precision[chosen])
        people = int(self.support[chosen].sum())
        return float(self.confusion.diagonal()[chosen].sum() / people) if people else float("nan")


@dataclass(frozen=True, eq=False)
class Details:
    """What an evaluation says beside its scores.

    Attributes:
        precision_recall: the curve of each class by protocol.
        calibration: of the predictions that count for a person under the ``official`` protocol: of every class, or,
            with one class per person, of the predicted one.
        subgroups: people of one age, of one gender, and so on, as the data state it.
        worst_images: those with the most mistakes first.
        ungrouped: attributes of too many values to make groups.

    Example:
        >>> from dsct.metrics import Evaluator
        >>> evaluation = Evaluator(("calm", "angry"), multi_label=False).compute(details=True)
        >>> evaluation.details.calibration.names, evaluation.details.subgroups
        (('predicted class',), ())
    """

    precision_recall: Mapping[str, tuple[PrecisionRecall, ...]]
    calibration: Calibration
    subgroups: tuple[Subgroup, ...]
    worst_images: tuple[ImageErrors, ...]
    ungrouped: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The numbers of one evaluation, by protocol name.

    Attributes:
        protocols: results by protocol name.
        labels: a description of the annotations that the predictions were compared with.
        num_images: images evaluated.
        num_people: annotated people in them.
        box_recall: share of people that some prediction overlaps with an IoU of at least 0.5; NaN without people.
        box_recall_by_subjects: the same by number of people in the image.
        box_recall_interval: (2,) bootstrap interval of `box_recall`, if requested.
        bootstrap: how the intervals were computed.
        throughput: how long predicting took, where it was measured.
        details: curves, calibration, groups of people and worst images, if requested.

    Example:
        >>> import torch
        >>> from dsct.metrics import Evaluator
        >>> evaluator = Evaluator(("calm", "angry"), multi_label=False)
        >>> box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        >>> found = {"boxes": box, "scores": torch.tensor([0.5]), "probabilities": torch.tensor([[0.2, 0.8]])}
        >>> evaluator.update([found], [{"boxes": box, "labels": torch.tensor([1])}])
        >>> evaluation = evaluator.compute()
        >>> evaluation.num_people, evaluation.box_recall
        (1, 1.0)
    """

    protocols: Mapping[str, ProtocolResult]
    labels: str
    num_images: int
    num_people: int
    box_recall: float
    box_recall_by_subjects: Mapping[str, float]
    box_recall_interval: NDArray[np.float64] | None = None
    bootstrap: Bootstrap | None = None
    throughput: Throughput | None = None
    details: Details | None = None

    def with_(self, **changes: Any) -> Evaluation:
        """A copy with other attributes."""
        return replace(self, **changes)

    def __getitem__(self, protocol: str) -> ProtocolResult:
        return self.protocols[protocol]

    def to_dict(self) -> dict[str, float]:
        """Flat name -> number, for logs: ``official_accuracy``, ``official_mAP``, …, ``box_recall``, ``chance``."""
        numbers: dict[str, float] = {}
        for name, result in self.protocols.items():
            numbers[f"{name}_{result.metric}"] = result.value
            numbers[f"{name}_mAP"] = result.mean_average_precision
        chance = next((result.chance for result in self.protocols.values()), float("nan"))
        return numbers | {"box_recall": self.box_recall, "chance": chance}

    def __str__(self) -> str:
        lines = [f"{self.num_people} people in {self.num_images} images, labels: {self.labels}"]
        for name, result in self.protocols.items():
            buckets = ", ".join(f"{people}: {value:.2%}" for people, value in result.by_subjects.items())
            lines.append(f"{name:<10}{result.metric} {result.value:.2%} (chance {result.chance:.2%})   "
                         f"by people per image: {buckets or 'none'}")  # fmt: skip
        lines.append(f"box recall at IoU 0.5: {self.box_recall:.2%}")
        return "\n".join(lines)
