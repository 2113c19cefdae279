"""The images with the most mistakes, to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsct.metrics.assignment import Floats
from dsct.metrics.images import ImageId, Images
from dsct.metrics.means import ratio
from dsct.metrics.protocols import Verdict

_LEAST = 1e-7  # a probability of 0 for what is there would cost infinitely much


@dataclass(frozen=True)
class ImageErrors:
    """What went wrong in an image.

    Attributes:
        image_id: of the image, as it was added to the evaluator.
        name: of the image, such as its path.
        people: annotated in it.
        missed: of these, people whom no prediction overlaps with an IoU of at least 0.5.
        wrong: of the others, people whose most probable class, in the prediction that counts for them under the
            ``official`` protocol, is none of theirs; nobody who shows no class.
        loss: mean binary cross-entropy over the people with a prediction, and over the classes; NaN without.

    Example:
        >>> ImageErrors(0, "a.jpg", people=3, missed=1, wrong=1, loss=0.4).mistakes
        2
    """

    image_id: ImageId
    name: str
    people: int
    missed: int
    wrong: int
    loss: float

    @property
    def mistakes(self) -> int:
        """People missed or wrong."""
        return self.missed + self.wrong


def worst_images(images: Images, verdict: Verdict, count: int) -> tuple[ImageErrors, ...]:
    """At most `count` images with people, those with the most mistakes first, then those of the highest loss."""
    missed = ~images.found()[images.is_person]
    answered = verdict.query >= 0
    right = np.zeros(len(answered), dtype=bool)
    right[answered] = verdict.person_labels[answered, verdict.predicted[answered]]
    wrong = ~missed & ~right & verdict.person_labels.any(axis=1)
    loss = np.zeros(len(answered))
    loss[answered] = _cross_entropy(verdict.scores, verdict.person_labels[answered])
    number = len(images.names)

    def by_image(weights: Floats) -> Floats:
        return np.bincount(verdict.person_image, weights, number).astype(np.float64)

    people, mistakes = by_image(np.ones(len(answered))), by_image((missed | wrong).astype(float))
    losses = ratio(by_image(loss), by_image(answered.astype(float)))
    order = np.lexsort([-np.nan_to_num(losses), -mistakes])
    chosen = [image for image in order if people[image]][:count]
    misses, wrongs = by_image(missed.astype(float)), by_image(wrong.astype(float))
    return tuple(
        ImageErrors(images.ids[image], images.names[image], int(people[image]), int(misses[image]),
                    int(wrongs[image]), float(losses[image]))
        for image in chosen
    )  # fmt: skip


def _cross_entropy(probabilities: Floats, labels: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    """(A,) mean over the classes."""
    said = np.where(labels, probabilities, 1 - probabilities).clip(min=_LEAST)
    return -np.log(said).mean(axis=1) if said.shape[1] else np.zeros(len(said))
