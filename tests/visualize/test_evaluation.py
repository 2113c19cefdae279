"""Figures of an evaluation show its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dsct.metrics import Bootstrap, Evaluation, Evaluator
from dsct.visualize.evaluation import class_figure, confusion_figure, subjects_figure


def evaluation(multi_label: bool, bootstrap: bool = True) -> Evaluation:
    rng = np.random.default_rng(0)
    evaluator = Evaluator(("calm", "angry", "sad"), multi_label)
    for image in range(12):
        people = image % 3 + 1
        corners = rng.uniform(0, 50, (people, 2))
        boxes = np.hstack([corners, corners + 20])
        labels = rng.integers(0, 2, (people, 3)) if multi_label else rng.integers(0, 3, people)
        found = {"boxes": boxes, "scores": np.ones(people), "probabilities": rng.uniform(size=(people, 3))}
        evaluator.update([found], [{"boxes": boxes, "labels": labels}])
    return evaluator.compute(Bootstrap(50) if bootstrap else None)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("bootstrap", [False, True])
def test_class_figure_shows_every_class_of_every_protocol(multi_label: bool, bootstrap: bool) -> None:
    found = evaluation(multi_label, bootstrap)
    (ax,) = class_figure(found).axes
    official = found["official"]
    names = [label.get_text() for label in ax.get_yticklabels()]
    order = np.argsort(official.per_class, kind="stable")
    assert names == [f"{official.class_names[i]} ({official.support[i]})" for i in order]
    points = ax.get_lines()[0].get_xdata()
    np.testing.assert_allclose(np.asarray(points, dtype=float), 100 * official.per_class[order])
    assert len(ax.collections) == (3 if bootstrap else 0)


def test_confusion_figure_writes_counts_and_shares() -> None:
    result = evaluation(False)["official"]
    (ax,) = confusion_figure(result).axes
    assert result.confusion is not None
    texts = {text.get_text() for text in ax.texts}
    filled = np.argwhere(result.confusion)
    assert len(ax.texts) == len(filled)
    for row, column in filled:
        count = int(result.confusion[row, column])
        assert f"{count}\n{count / result.support[row]:.0%}" in texts
    assert [label.get_text() for label in ax.get_xticklabels()] == ["calm", "angry", "sad", "missed"]
    with pytest.raises(ValueError, match="one class per person"):
        confusion_figure(evaluation(True)["official"])


def test_subjects_figure_has_bars_for_each_number_of_people() -> None:
    found = evaluation(True)
    (ax,) = subjects_figure(found).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    heights = [bar.get_height() for bar in ax.patches[:3]]
    np.testing.assert_allclose(heights, [100 * found["official"].by_subjects[str(people)] for people in (1, 2, 3)])
