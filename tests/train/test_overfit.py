"""Overfitting a few images, and what it says about them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import dsct.train.overfit as overfit_module
from dsct.config import DSCTConfig
from dsct.data.records import Annotations
from dsct.data.synthetic import SyntheticDataset
from dsct.train.overfit import OverfitResult, overfit


def scenes(multi_label: bool = False, size: int = 20) -> SyntheticDataset:
    return SyntheticDataset("train", size, image_size=(64, 48), multi_label=multi_label)


@pytest.mark.slow
@pytest.mark.parametrize("multi_label", [False, True])
def test_overfits_a_few_images(multi_label: bool) -> None:
    seen: list[int] = []
    data = scenes(multi_label)
    result = overfit(data, images=3, steps=400, short_side=96, on_step=lambda done, loss: seen.append(done))
    assert result.boxes_learnt
    assert result.labels_learnt
    assert result.verdict.startswith("learnt: box recall")
    assert seen == list(range(1, len(result.losses) + 1))
    assert result.losses[-1] < 0.3 * result.losses[0]
    assert (result.model.config.num_classes, result.model.config.multi_label) == (26 if multi_label else 7, multi_label)
    assert result.model.preprocess == {"short_side": 96, "long_side": 192}
    assert data.transforms is None


def result_with(recall: float, accuracy: float) -> OverfitResult:
    result = overfit(scenes(size=2), images=1, steps=1, short_side=48)

    class Evaluated:
        box_recall = recall

        def __getitem__(self, _protocol: str) -> Any:
            return type("Result", (), {"value": accuracy, "metric": "accuracy"})

    return dataclasses.replace(result, evaluation=Evaluated())


@pytest.mark.parametrize(
    ("recall", "accuracy", "words"),
    [(1.0, 0.5, "boxes learnt, labels not"), (0.2, 1.0, "labels learnt, boxes not"), (0.0, 0.0, "not learnt")],
)
def test_verdict_says_what_failed(recall: float, accuracy: float, words: str) -> None:
    assert result_with(recall, accuracy).verdict.startswith(words)


def nobody(found: Annotations) -> Annotations:
    return dataclasses.replace(found, boxes=found.boxes[:0], labels=found.labels[:0])


def test_images_are_those_with_people_and_the_choice_is_seeded() -> None:
    class MostlyEmpty(SyntheticDataset):
        def annotations(self, index: int) -> Any:
            found = super().annotations(index)
            return (
                found
                if index in (3, 11)
                else dataclasses.replace(found, boxes=found.boxes[:0], labels=found.labels[:0])
            )

    data = MostlyEmpty("train", 12, image_size=(64, 48))
    assert sorted(overfit(data, images=8, steps=1, short_side=48).indices) == [3, 11]
    first = overfit(scenes(), images=4, steps=2, short_side=48, seed=5)
    again = overfit(scenes(), images=4, steps=2, short_side=48, seed=5)
    assert (first.indices, first.losses) == (again.indices, again.losses)
    assert overfit(scenes(), images=4, steps=1, short_side=48, seed=6).indices != first.indices


def test_bad_arguments_are_named() -> None:
    class Empty(SyntheticDataset):
        def annotations(self, index: int) -> Any:
            return nobody(super().annotations(index))

    with pytest.raises(ValueError, match="image with people, got none among 2"):
        overfit(Empty("train", 2, image_size=(64, 48)))
    with pytest.raises(TypeError, match=r"data set with annotations\(i\), got list"):
        overfit([1, 2])  # type: ignore[arg-type]
    for name in ("images", "steps", "short_side"):
        with pytest.raises(ValueError, match=f"overfit: {name} must be at least 1, got 0"):
            overfit(scenes(), **{name: 0})


def test_takes_a_given_model() -> None:
    config = DSCTConfig.tiny(num_context_queries=6, k_spatial=3, k_semantic=2)
    assert overfit(scenes(), images=1, steps=1, short_side=48, config=config).model.config == config


def test_of_a_crowd_the_first_people_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 30,000 people in an image, queries for all of them took gigabytes per layer."""
    monkeypatch.setattr(overfit_module, "MOST_PEOPLE", 2)
    data = scenes(size=20)
    result = overfit(data, images=20, steps=1, short_side=48)
    people = [len(data.annotations(index)) for index in range(20)]
    assert max(people) > 2
    assert result.evaluation.num_people == sum(min(count, 2) for count in people)
    assert result.model.config.num_subject_queries == 8
    given = overfit(data, images=20, steps=1, short_side=48, config=result.model.config)
    assert given.evaluation.num_people == sum(people)
