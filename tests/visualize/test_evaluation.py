"""Figures of an evaluation show its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dsct.metrics import Bootstrap, Evaluation, Evaluator
from dsct.visualize.calibration import calibration_figure
from dsct.visualize.evaluation import class_figure, confusion_figure, subjects_figure
from dsct.visualize.precision_recall import precision_recall_figure
from dsct.visualize.subgroups import subgroup_figure


def evaluation(multi_label: bool, bootstrap: bool = True) -> Evaluation:
    rng = np.random.default_rng(0)
    evaluator = Evaluator(("calm", "angry", "sad"), multi_label)
    for image in range(12):
        people = image % 3 + 1
        corners = rng.uniform(0, 50, (people, 2))
        boxes = np.hstack([corners, corners + 20])
        labels = rng.integers(0, 2, (people, 3)) if multi_label else rng.integers(0, 3, people)
        found = {"boxes": boxes, "scores": np.ones(people), "probabilities": rng.uniform(size=(people, 3))}
        ages = rng.choice(["Kid", "Adult"], people)
        evaluator.update([found], [{"boxes": boxes, "labels": labels, "attributes": {"age": ages}}])
    return evaluator.compute(Bootstrap(50) if bootstrap else None, details=True)


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


@pytest.mark.parametrize("multi_label", [False, True])
def test_chance_is_marked(multi_label: bool) -> None:
    found = evaluation(multi_label)
    official = found["official"]
    chance = f"chance {official.chance:.1%}"
    (classes,), (people,) = class_figure(found).axes, subjects_figure(found).axes
    for ax in (classes, people):
        assert chance in {text.get_text() for text in ax.get_legend().get_texts()}
    if multi_label:
        marks = next(line for line in classes.get_lines() if line.get_label() == chance)
        order = np.argsort(official.per_class, kind="stable")
        np.testing.assert_allclose(np.asarray(marks.get_xdata(), dtype=float), 100 * official.prevalence[order])
    else:
        (confusion,) = confusion_figure(official).axes
        assert chance in confusion.get_title()


@pytest.mark.parametrize("multi_label", [False, True])
def test_precision_recall_figure_has_a_panel_per_class(multi_label: bool) -> None:
    found = evaluation(multi_label)
    assert found.details is not None
    panels = precision_recall_figure(found).axes
    assert [ax.get_title().split(" (")[0] for ax in panels] == list(found["official"].class_names)
    for number, ax in enumerate(panels):
        lines = {line.get_label(): line for line in ax.get_lines()}
        for protocol, curves in found.details.precision_recall.items():
            recall = np.asarray(lines[protocol].get_xdata(), dtype=float)
            np.testing.assert_allclose(recall[1:], 100 * curves[number].recall)
    with pytest.raises(ValueError, match="details=True"):
        precision_recall_figure(found.with_(details=None))


def test_calibration_figure_shows_filled_bins_and_the_error() -> None:
    found = evaluation(True).details
    assert found is not None
    for row, ax in enumerate(calibration_figure(found.calibration).axes):
        filled = found.calibration.count[row] > 0
        share = np.asarray(ax.get_lines()[1].get_ydata(), dtype=float)
        np.testing.assert_allclose(share, 100 * found.calibration.share[row][filled])
        assert ax.get_title() == f"{found.calibration.names[row]}: ECE {found.calibration.errors[row]:.1%}"


def test_subgroup_figure_has_a_row_per_group() -> None:
    found = evaluation(False)
    assert found.details is not None
    (ax,) = subgroup_figure(found).axes
    groups = found.details.subgroups
    assert [text.get_text() for text in ax.get_yticklabels()] == [f"age: {one.name} ({one.people})" for one in groups]
    values, recalls, chances = (np.asarray(line.get_xdata(), dtype=float) for line in ax.get_lines()[:3])
    np.testing.assert_allclose(values, [100 * one.value for one in groups])
    np.testing.assert_allclose(recalls, [100 * one.box_recall for one in groups])
    np.testing.assert_allclose(chances, [100 * one.chance for one in groups])
    with pytest.raises(ValueError, match="groups of people"):
        subgroup_figure(found.with_(details=None))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("bootstrap", [None, Bootstrap(2)])
def test_an_evaluation_of_nothing_can_be_drawn(multi_label: bool, bootstrap: Bootstrap | None) -> None:
    nobody = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "probabilities": np.zeros((0, 3))}
    for people in (0, 1):
        evaluator = Evaluator(("calm", "angry", "sad"), multi_label)
        labels = np.zeros((people, 3) if multi_label else people, dtype=int)
        evaluator.update([nobody], [{"boxes": np.array([[0, 0, 9, 9]] * people), "labels": labels}])
        found = evaluator.compute(bootstrap, details=True)
        assert found.details is not None
        figures = [class_figure(found), subjects_figure(found), precision_recall_figure(found),
                   calibration_figure(found.details.calibration)]  # fmt: skip
        assert all(figure._repr_png_() for figure in figures)
