"""The three named protocols: which prediction counts for whom, and what is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsct.metrics import assignment
from dsct.metrics.assignment import Bools, Floats, Ints
from dsct.metrics.average_precision import weighted_average_precision
from dsct.metrics.images import MATCH_IOU, Images
from dsct.metrics.means import chance_of, ratio, row_means

DEFINITIONS = {
    "official": "every person takes the prediction of highest overlap, however low; widths, heights and intersections "
    "count both border pixels (the released evaluation). Missed people and false alarms cost nothing.",
    "paper": "duplicate removal first (section 4.1 of the paper), then as official.",
    "detection": "a prediction counts only from an IoU of 0.5 on, for one person; people left over are misses.",
}
PROTOCOLS = tuple(DEFINITIONS)


def verdict_by_protocol(images: Images, nms_iou: float) -> dict[str, Verdict]:
    """The verdict of every protocol; `nms_iou` is the overlap from which ``paper`` drops a duplicate."""
    everyone = ~np.isnan(images.boxes[..., 0])
    without_duplicates = assignment.keep_after_nms(images.boxes, images.scores, nms_iou)
    of_everyone, of_the_rest = np.full((2, *images.is_person.shape), -1)
    for block in images.blocks():
        released_iou = assignment.box_iou(images.boxes[block], images.true_boxes[block], pixel=1.0)
        of_everyone[block] = assignment.nearest_prediction(released_iou, everyone[block])
        of_the_rest[block] = assignment.nearest_prediction(released_iou, without_duplicates[block])
    return {
        "official": verdict_by_person(images, of_everyone),
        "paper": verdict_by_person(images, of_the_rest),
        "detection": verdict_by_prediction(images),
    }


@dataclass(frozen=True)
class Verdict:
    """Candidates for the precision-recall curves, and what was predicted for each person."""

    scores: Floats  # (K, C)
    right: Bools  # (K, C)
    candidate_image: Ints  # (K,)
    person_labels: Bools  # (S, C)
    predicted: Ints  # (S,) class, -1 for a miss
    person_image: Ints  # (S,)
    query: Ints  # (S,) which prediction of the image was assigned, -1 for a miss

    def chance(self, multi_label: bool) -> float:
        """The headline value without a model: see :attr:`dsct.metrics.ProtocolResult.chance`."""
        return chance_of(self.support, len(self.person_labels), multi_label)

    @property
    def support(self) -> Ints:
        """(C,) number of people who show the class."""
        people: Ints = self.person_labels.sum(axis=0)
        return people

    def average_precision(self, weights: Floats) -> Floats:
        """(R, C) under each weighting (R, I) of the images."""
        support = weights @ self._per_image(self.person_labels, weights.shape[1])
        return weighted_average_precision(self.scores, self.right, self.candidate_image, weights, support)

    def headline(self, weights: Floats, multi_label: bool) -> tuple[Floats, Floats]:
        """Headline value (R,) and that of each class (R, C) under each weighting (R, I) of the images.

        Mean and per-class average precision of a multi-label model, else the accuracies.
        """
        if multi_label:
            per_class = self.average_precision(weights)
            return row_means(per_class), per_class
        images = weights.shape[1]
        read = self.person_labels & (self.predicted[:, None] == np.arange(self.person_labels.shape[1]))
        right = weights @ self._per_image(read, images)
        people = weights @ self._per_image(self.person_labels, images)
        return ratio(right.sum(axis=1), people.sum(axis=1)), ratio(right, people)

    def within(self, chosen: Bools) -> Verdict:
        """Of the images in the mask `chosen` (I,) only, numbered from 0 again."""
        number = np.cumsum(chosen) - 1
        candidates, people = chosen[self.candidate_image], chosen[self.person_image]
        return Verdict(
            self.scores[candidates],
            self.right[candidates],
            number[self.candidate_image[candidates]],
            self.person_labels[people],
            self.predicted[people],
            number[self.person_image[people]],
            self.query[people],
        )

    def of_people(self, chosen: Bools) -> Verdict:
        """Of the people in the mask `chosen` (S,) only; needs a protocol with one candidate per answered person."""
        candidates = chosen[self.query >= 0]
        return Verdict(
            self.scores[candidates],
            self.right[candidates],
            self.candidate_image[candidates],
            self.person_labels[chosen],
            self.predicted[chosen],
            self.person_image[chosen],
            self.query[chosen],
        )

    def confusion(self) -> Ints:
        """(C, C) people by true (row) and predicted (column) class."""
        matrix = np.zeros((self.person_labels.shape[1],) * 2, dtype=np.int64)
        read = self.predicted >= 0
        np.add.at(matrix, (self.person_labels[read].argmax(axis=1), self.predicted[read]), 1)
        return matrix

    def _per_image(self, people: Bools, images: int) -> Floats:
        """(S, C) -> (I, C) how many of the people of each image."""
        counts = np.zeros((images, people.shape[1]))
        np.add.at(counts, self.person_image, people)
        return counts


def verdict_by_person(images: Images, chosen: Ints) -> Verdict:
    """One candidate per person: the prediction `chosen` (I, n) for it, unless that is -1."""
    image, person = np.nonzero(images.is_person)
    query = chosen[image, person]
    labels = images.true_labels[image, person]
    answered = query >= 0
    scores = images.probabilities[image[answered], query[answered]]
    predicted = np.full(len(image), -1)
    predicted[answered] = scores.argmax(axis=1)
    return Verdict(scores, labels[answered], image[answered], labels, predicted, image, query)


def verdict_by_prediction(images: Images) -> Verdict:
    """Every prediction is a candidate for every class; it is right if it finds a free person who shows the class."""
    per_class = np.full(images.probabilities.shape, -1)
    any_class = np.full(images.scores.shape, -1)
    for block in images.blocks(2 + images.probabilities.shape[-1]):
        iou = assignment.box_iou(images.boxes[block], images.true_boxes[block])
        close = (iou >= MATCH_IOU)[..., None]
        shown = close & images.true_labels[block][:, None]
        per_class[block] = assignment.match_by_score(images.probabilities[block], shown, iou)
        # The class of a person who is found, whatever the class, is that of the prediction that found them.
        any_class[block] = assignment.match_by_score(images.scores[block][..., None], close, iou)[..., 0]
    image, query = np.nonzero(~np.isnan(images.boxes[..., 0]))
    chosen = np.full(images.is_person.shape, -1)
    hit_image, hit_query = np.nonzero(any_class >= 0)
    chosen[hit_image, any_class[hit_image, hit_query]] = hit_query
    person = verdict_by_person(images, chosen)
    return Verdict(
        images.probabilities[image, query],
        per_class[image, query] >= 0,
        image,
        person.person_labels,
        person.predicted,
        person.person_image,
        person.query,
    )
