"""Scores of groups of people, by what the data say of them, such as age and gender."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsct.metrics.assignment import Bools, Floats
from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.images import Images
from dsct.metrics.means import ratio
from dsct.metrics.protocols import Verdict

UNKNOWN = "unknown"
MOST_VALUES = 20


@dataclass(frozen=True, eq=False)
class Subgroup:
    """People of whom the data say the same.

    Attributes:
        attribute: what is said, such as ``"age"``.
        name: what it is for them, such as ``"Kid"``; ``"unknown"`` where the data do not say.
        people: how many.
        value: the headline value over them under the ``official`` protocol: accuracy, or the mean average precision
            over the classes that somebody among them shows.
        chance: what `value` would be without a model, as :attr:`dsct.metrics.ProtocolResult.chance`.
        box_recall: share of them whom some prediction overlaps with an IoU of at least 0.5.
        per_class: (C,) average precision, or accuracy, of each class among them; NaN where nobody shows it.
        support: (C,) number of them who show the class.
        interval: (2,) bootstrap interval of `value`, if requested.
        box_recall_interval: (2,) of `box_recall`, if requested.

    Example:
        >>> nothing = np.zeros(0)
        >>> Subgroup("age", "Kid", 3, 0.5, 0.4, 1.0, nothing, nothing.astype(int)).name
        'Kid'
    """

    attribute: str
    name: str
    people: int
    value: float
    chance: float
    box_recall: float
    per_class: NDArray[np.float64]
    support: NDArray[np.int64]
    interval: NDArray[np.float64] | None = None
    box_recall_interval: NDArray[np.float64] | None = None


def subgroups(
    images: Images, verdict: Verdict, multi_label: bool, bootstrap: Bootstrap | None = None
) -> tuple[Subgroup, ...]:
    """Every group of every attribute of at most 20 values, those whose attribute is unknown last.

    All groups are resampled alike, image by image.

    Args:
        images: with what is said of their people.
        verdict: of a protocol with one candidate per answered person.
        multi_label: whether a person can show several classes.
        bootstrap: also computes intervals.
    """
    members = list(_members(images))
    found = images.found()[images.is_person]
    return tuple(_subgroup(one, mask, verdict, found, len(images.names), multi_label, bootstrap)
                 for one, mask in members)  # fmt: skip


def ungrouped(images: Images) -> tuple[str, ...]:
    """Attributes, such as an identity, with more than 20 values: groups of them would say nothing."""
    return tuple(name for name, texts in images.attributes.items() if len(_values(texts)) > MOST_VALUES)


def _values(texts: tuple[str, ...]) -> list[str]:
    return sorted({text.strip() for text in texts} - {""})


def _members(images: Images) -> Iterator[tuple[tuple[str, str], Bools]]:
    """((attribute, name), mask over the S people) of every group; an attribute that nobody has makes none."""
    left_out = ungrouped(images)
    for attribute, texts in images.attributes.items():
        values = np.array([text.strip() for text in texts], dtype=object)
        if attribute in left_out:
            continue
        for name in _values(texts):
            yield (attribute, name), (values == name).astype(bool)
        if (values != "").any() and (values == "").any():
            yield (attribute, UNKNOWN), (values == "").astype(bool)


def _subgroup(
    of: tuple[str, str],
    mask: Bools,
    verdict: Verdict,
    found: Bools,
    images: int,
    multi_label: bool,
    bootstrap: Bootstrap | None,
) -> Subgroup:
    group = verdict.of_people(mask)
    per_image = [
        np.bincount(group.person_image, weights, images).astype(float) for weights in (found[mask], np.ones(mask.sum()))
    ]

    def scores(weights: Floats) -> Floats:
        """(R, 2): headline value and box recall under each weighting (R, I) of the images."""
        recall = ratio(weights @ per_image[0], weights @ per_image[1])
        return np.column_stack([group.headline(weights, multi_label)[0], recall])

    everything = np.ones((1, images))
    value, recall = scores(everything)[0].tolist()
    per_class = group.headline(everything, multi_label)[1][0]
    ends = None
    if bootstrap is not None:
        ends = bootstrap.interval(np.concatenate([scores(weights) for weights in bootstrap.weights(images)]))
    return Subgroup(
        *of, int(mask.sum()), value, group.chance(multi_label), recall, per_class, group.support,
        None if ends is None else ends[0], None if ends is None else ends[1],
    )  # fmt: skip
