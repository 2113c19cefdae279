"""Predictions and annotations of random scenes, whose people differ in age and gender."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsct.metrics import Evaluator

NAMES = ("calm", "angry", "sad")
AGES = ("Kid", "Adult", "")


def scenes(multi_label: bool, images: int = 40, seed: int = 0) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(predictions, annotations) of each image; some people are missed, some images empty, some scores equal."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(images):
        people, extra = int(rng.integers(0, 5)), int(rng.integers(0, 3))
        corners = rng.uniform(0, 200, (people, 2))
        boxes = np.hstack([corners, corners + rng.uniform(20, 60, (people, 2))])
        found = boxes[rng.random(people) < 0.8] + rng.uniform(-6, 6, 4) * [1, 1, 1, 1]
        away = rng.uniform(300, 350, (extra, 2))
        predicted = np.vstack([found, np.hstack([away, away + 40])])
        probabilities = rng.integers(0, 21, (len(predicted), 3)) / 20
        prediction = {"boxes": predicted, "scores": probabilities.mean(axis=1), "probabilities": probabilities}
        labels = rng.integers(0, 2, (people, 3)) if multi_label else rng.integers(0, 3, people)
        truth = {
            "image_id": f"images/{number:03d}.jpg",
            "boxes": boxes,
            "labels": labels,
            "attributes": {"age": rng.choice(AGES, people).tolist(), "gender": rng.choice(["F", "M"], people).tolist()},
            "continuous": np.where(rng.random((people, 1)) < 0.5, rng.uniform(1, 10, (people, 3)), np.nan),
        }
        made.append((prediction, truth))
    return made


def evaluator_of(made: list[tuple[dict[str, Any], dict[str, Any]]], multi_label: bool) -> Evaluator:
    """Filled with these scenes, numbered in their order."""
    evaluator = Evaluator(NAMES, multi_label)
    evaluator.update([prediction for prediction, _ in made], [truth for _, truth in made])
    return evaluator
