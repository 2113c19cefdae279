"""What is known about the evaluated images: their predictions and annotations, each alone and all stacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsct.metrics import assignment
from dsct.metrics.assignment import Bools, Floats

ImageId = int | str
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Predicted:
    """The predictions of one image."""

    boxes: Floats  # (N, 4)
    scores: Floats  # (N,)
    probabilities: Floats  # (N, C)

    @classmethod
    def checked(cls, result: Mapping[str, Any], classes: int) -> Predicted:
        """What ``PostProcess`` returns for an image, if its shapes fit and its numbers are finite."""
        boxes = _boxes(result, "predicted")
        probabilities = _array(result["probabilities"])
        if probabilities.shape != (len(boxes), classes):
            raise ValueError(f"probabilities must be ({len(boxes)}, {classes}), one column per class, got "
                             f"{probabilities.shape}")  # fmt: skip
        scores = _array(result["scores"])
        if scores.shape != (len(boxes),):
            raise ValueError(f"scores must be ({len(boxes)},), one per predicted box, got {scores.shape}")
        if not (np.isfinite(scores).all() and np.isfinite(probabilities).all()):
            raise ValueError("scores and probabilities must be finite numbers, got NaN or infinity")
        return cls(boxes, scores, probabilities)


@dataclass(frozen=True)
class Annotated:
    """The annotated people of one image."""

    name: str
    boxes: Floats  # (n, 4)
    labels: Bools  # (n, C)
    attributes: Mapping[str, tuple[str, ...]]  # name -> n texts
    continuous: Floats  # (n, 3), NaN where unknown

    @classmethod
    def checked(cls, truth: Mapping[str, Any], image_id: ImageId, classes: int, multi_label: bool) -> Annotated:
        """The target of an image, with boxes in pixels, if its shapes fit and its labels are possible."""
        boxes = _boxes(truth, "true")
        people = len(boxes)
        attributes = {
            name: tuple("" if text is None else str(text) for text in texts)
            for name, texts in (truth.get("attributes") or {}).items()
        }
        for name, texts in attributes.items():
            if len(texts) != people:
                raise ValueError(f"attributes[{name!r}] must be {people} texts, one per true box, got {len(texts)}")
        continuous = truth.get("continuous")
        known = np.full((people, 3), np.nan) if continuous is None else _array(continuous)
        if known.shape != (people, 3):
            raise ValueError(f"continuous must be ({people}, 3), one row per true box, got {known.shape}")
        named = truth.get("image_id", image_id)
        name = str(named.item() if hasattr(named, "item") else named)  # a tensor of one number, as in COCO's targets
        return cls(name, boxes, _labels(truth, people, classes, multi_label), attributes, known)


@dataclass(frozen=True)
class Images:
    """All images stacked; NaN boxes are padding. The S people follow each other image by image."""

    boxes: Floats  # (I, N, 4)
    scores: Floats  # (I, N)
    probabilities: Floats  # (I, N, C)
    true_boxes: Floats  # (I, n, 4)
    true_labels: Bools  # (I, n, C)
    ids: tuple[ImageId, ...]  # of the I images
    names: tuple[str, ...]  # of the I images
    attributes: Mapping[str, tuple[str, ...]]  # name -> S texts, "" where unknown
    continuous: Floats  # (S, 3)

    @classmethod
    def stack(cls, images: Mapping[ImageId, tuple[Predicted, Annotated]], classes: int) -> Images:
        """Stacks images that may have different numbers of predictions and people, none among them.

        In the order of their ids, so that no result depends on the order in which they were added.
        """
        ids = tuple(sorted(images, key=order))
        predicted, annotated = [images[i][0] for i in ids], [images[i][1] for i in ids]
        if not ids:
            none = np.zeros((0, 0))
            return cls(none[..., None].repeat(4, -1), none, np.zeros((0, 0, classes)), np.zeros((0, 0, 4)),
                       np.zeros((0, 0, classes), dtype=bool), (), (), {}, np.zeros((0, 3)))  # fmt: skip
        attributes = list(dict.fromkeys(name for one in annotated for name in one.attributes))
        return cls(
            assignment.pad([one.boxes for one in predicted], np.nan),
            assignment.pad([one.scores for one in predicted], 0.0),
            assignment.pad([one.probabilities for one in predicted], 0.0),
            assignment.pad([one.boxes for one in annotated], np.nan),
            assignment.pad([one.labels.astype(float) for one in annotated], 0.0).astype(bool),
            ids,
            tuple(one.name for one in annotated),
            {name: tuple(text for one in annotated for text in one.attributes.get(name, ("",) * len(one.boxes)))
             for name in attributes},
            np.concatenate([one.continuous for one in annotated]),
        )  # fmt: skip

    def found(self) -> Bools:
        """(I, n) whether any prediction overlaps the person by at least 0.5."""
        best = np.zeros(self.is_person.shape)
        for block in self.blocks():
            best[block] = assignment.box_iou(self.boxes[block], self.true_boxes[block]).max(axis=1, initial=0.0)
        return best >= MATCH_IOU

    def blocks(self, per_pair: int = 2) -> Iterator[slice]:
        """Parts of the images, for arrays with so many numbers for each pair of a prediction and a person."""
        (images, predictions), people = self.scores.shape, self.is_person.shape[1]
        return assignment.blocks(images, predictions, people, per_pair)

    @property
    def is_person(self) -> Bools:
        """(I, n) False for padding."""
        return ~np.isnan(self.true_boxes[..., 0])


def order(image_id: ImageId) -> tuple[bool, int, str]:
    """Sorts numbers before texts."""
    return (True, 0, image_id) if isinstance(image_id, str) else (False, image_id, "")


def _labels(truth: Mapping[str, Any], people: int, classes: int, multi_label: bool) -> Bools:
    """(n, C)."""
    labels = _array(truth["labels"])
    if multi_label:
        if labels.shape != (people, classes):
            raise ValueError(f"labels must be ({people}, {classes}) of 0 and 1, got {labels.shape}")
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(labels, (0, 1)).tolist()}")
        return labels > 0
    if labels.shape != (people,):
        raise ValueError(f"labels must be ({people},) class numbers, got {labels.shape}")
    if not np.isin(labels, np.arange(classes)).all():
        raise ValueError(f"labels must be whole numbers in 0…{classes - 1}, got {labels.tolist()}")
    chosen: Bools = labels[:, None] == np.arange(classes)
    return chosen


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
