"""Curves, calibration, groups of people, worst images and chance, each against what is plain to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from dsct.metrics import Bootstrap, Calibration, Details, Evaluation, Evaluator, average_precision, calibration
from dsct.metrics import precision_recall_curve as own_curve
from tests.metrics.scenes import NAMES, evaluator_of, scenes


def details_of(evaluation: Evaluation) -> Details:
    assert evaluation.details is not None
    return evaluation.details


def test_curve_equals_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 30, 400) / 30, rng.random(400) < 0.3
    curve = own_curve(scores, positive)
    precision, recall, thresholds = precision_recall_curve(positive, scores)  # rising thresholds, and a last point
    np.testing.assert_allclose(curve.precision[::-1], precision[:-1])
    np.testing.assert_allclose(curve.recall[::-1], recall[:-1])
    np.testing.assert_allclose(curve.thresholds[::-1], thresholds)
    area = (np.diff(curve.recall, prepend=0) * curve.precision).sum()
    assert area == pytest.approx(average_precision(scores[:, None], positive[:, None])[0])


def test_curve_at_recalls() -> None:
    curve = own_curve([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], num_positive=3)
    precision, thresholds = curve.at([0, 1 / 3, 0.5, 2 / 3, 0.9])
    np.testing.assert_allclose(precision, [1, 1, 2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(thresholds, [0.9, 0.9, 0.7, 0.7, np.nan])
    for nothing in (own_curve([], []), own_curve([0.5], [0])):
        assert np.isnan(nothing.at([0.5])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], [1, 0]), r"must both be \(K,\)"),
        (([np.nan], [1]), "must not be NaN"),
        (([0.5], [1], 0), "at least the 1 found, got 0"),
    ],
)
def test_bad_candidates_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own_curve(*arguments)


@pytest.mark.parametrize("multi_label", [False, True])
def test_every_class_has_a_curve_under_every_protocol(multi_label: bool) -> None:
    evaluation = evaluator_of(scenes(multi_label), multi_label).compute(details=True)
    for protocol, curves in details_of(evaluation).precision_recall.items():
        assert [curve.name for curve in curves] == list(NAMES)
        for curve, expected in zip(curves, evaluation[protocol].average_precision, strict=True):
            assert (np.diff(curve.recall, prepend=0) * curve.precision).sum() == pytest.approx(expected)


def plain_error(confidence: Any, right: Any, bins: int) -> float:
    """Expected calibration error by its definition, bin by bin."""
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i, p in enumerate(confidence) if low < p <= high or (number == 0 and p == 0)]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            error += len(inside) / len(confidence) * abs(gap)
    return float(error)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_is_its_definition(bins: int) -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random((200, 3)) ** [1, 3, 9]
    confidence[:5] = [[0, 0, 0], [1, 1, 1], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0.75, 0.75, 0.75]]
    right = rng.random((200, 3)) < confidence
    found = calibration(confidence, right, NAMES, bins)
    np.testing.assert_allclose(found.errors, [plain_error(confidence[:, c], right[:, c], bins) for c in range(3)])
    assert found.error == pytest.approx(found.errors.mean())
    assert found.count.sum(axis=1).tolist() == [200] * 3
    np.testing.assert_allclose(np.nansum(found.share * found.count, axis=1), right.sum(axis=0))


def test_right_probabilities_are_calibrated_and_exaggerated_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    true = rng.random((50_000, 1))
    right = rng.random(true.shape) < true
    assert calibration(true, right, ["a"]).error < 0.01
    assert calibration(true**0.25, right, ["a"]).error == pytest.approx((true**0.25 - true).mean(), abs=0.01)


@pytest.mark.parametrize("multi_label", [False, True])
def test_confidences_are_as_defined(multi_label: bool) -> None:
    evaluator = evaluator_of(scenes(multi_label), multi_label)
    found = details_of(evaluator.compute(details=True)).calibration
    rows = [row for row in evaluator.person_table().rows() if row["iou"] is not None]
    said = np.array([[row[f"probability_{name}"] for name in NAMES] for row in rows])
    if multi_label:
        shown = np.array([[name in row["true_labels"].split("|") for name in NAMES] for row in rows])
        expected = [plain_error(said[:, c], shown[:, c], 15) for c in range(3)]
        assert found.names == NAMES
    else:
        right = [row["true_labels"] == row["predicted_labels"] for row in rows]
        expected = [plain_error(said.max(axis=1), right, 15)]
        assert found.names == ("predicted class",)
    np.testing.assert_allclose(found.errors, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5]], [[1, 0]], ["a"]), r"must both be \(K, 1\)"),
        (([[1.5]], [[1]], ["a"]), r"in \[0, 1\]"),
        (([[np.nan]], [[1]], ["a"]), r"in \[0, 1\]"),
        (([[0.5]], [[1]], ["a"], 0), "bins must be at least 1"),
    ],
)
def test_bad_confidences_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration(*arguments)


def only(made: Any, attribute: str, value: str) -> Any:
    """The same scenes with nobody but the people of a group; the predictions stay."""
    left = []
    for prediction, truth in made:
        kept = [i for i, text in enumerate(truth["attributes"][attribute]) if text == value]
        boxes, labels = truth["boxes"][kept], truth["labels"][kept]
        left.append((prediction, {"boxes": boxes, "labels": labels}))
    return left


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_group_has_the_scores_of_its_people_alone(multi_label: bool) -> None:
    made = scenes(multi_label, images=60)
    bootstrap = Bootstrap(20)
    groups = details_of(evaluator_of(made, multi_label).compute(bootstrap, details=True)).subgroups
    assert [(one.attribute, one.name) for one in groups] == [
        ("age", "Adult"), ("age", "Kid"), ("age", "unknown"), ("gender", "F"), ("gender", "M"),
    ]  # fmt: skip
    for one in groups:
        value = "" if one.name == "unknown" else one.name
        alone = evaluator_of(only(made, one.attribute, value), multi_label).compute(bootstrap)
        official = alone["official"]
        assert one.people == alone.num_people
        assert one.value == pytest.approx(official.value)
        assert one.chance == pytest.approx(official.chance)
        assert one.box_recall == pytest.approx(alone.box_recall)
        np.testing.assert_allclose(one.per_class, official.per_class)
        np.testing.assert_array_equal(one.support, official.support)
        assert official.intervals is not None
        np.testing.assert_allclose(one.interval, official.intervals.value)
        np.testing.assert_allclose(one.box_recall_interval, alone.box_recall_interval)


def test_an_attribute_of_too_many_values_makes_no_groups() -> None:
    evaluator = Evaluator(NAMES, False)
    box = np.array([[0.0, 0.0, 9.0, 9.0]])
    found = {"boxes": box, "scores": [0.5], "probabilities": [[0.1, 0.2, 0.3]]}
    for number in range(21):
        said = {"track": [str(number)], "age": [""], "mood": ["good "]}
        evaluator.update([found], [{"boxes": box, "labels": [1], "attributes": said}])
    details = details_of(evaluator.compute(details=True))
    assert [(one.attribute, one.name, one.people) for one in details.subgroups] == [("mood", "good", 21)]
    assert details.ungrouped == ("track",)


def test_worst_images_are_those_with_the_most_mistakes() -> None:
    box, far = [0.0, 0.0, 50.0, 50.0], [200.0, 0.0, 250.0, 50.0]

    def scene(boxes: Any, probabilities: Any, people: Any, labels: Any) -> Any:
        found = {"boxes": np.reshape(boxes, (-1, 4)), "scores": np.ones(len(probabilities)),
                 "probabilities": np.reshape(probabilities, (-1, 3))}  # fmt: skip
        return found, {"boxes": np.reshape(people, (-1, 4)), "labels": np.array(labels, dtype=int)}

    made = [
        scene([box], [[0.9, 0.1, 0.1]], [box], [0]),  # right
        scene([box], [[0.1, 0.9, 0.1]], [box], [0]),  # wrong
        scene([box], [[0.9, 0.1, 0.1]], [far], [0]),  # missed, although the nearest answer is right
        scene([], [], [box, far], [0, 1]),  # nobody found
        scene([box], [[0.9, 0.1, 0.1]], [], []),  # nobody there
    ]
    worst = details_of(evaluator_of(made, False).compute(details=True)).worst_images
    assert [(one.image_id, one.people, one.missed, one.wrong) for one in worst] == [
        (3, 2, 2, 0), (1, 1, 0, 1), (2, 1, 1, 0), (0, 1, 0, 0),
    ]  # fmt: skip
    assert np.isnan(worst[0].loss)
    assert worst[1].loss == pytest.approx(-(2 * np.log(0.1) + np.log(0.9)) / 3)


@pytest.mark.parametrize("multi_label", [False, True])
def test_chance_is_what_needs_no_model(multi_label: bool) -> None:
    made = scenes(multi_label, images=400)
    evaluation = evaluator_of(made, multi_label).compute()
    labels = np.concatenate([truth["labels"] for _, truth in made])
    shares = labels.mean(axis=0) if multi_label else np.bincount(labels) / len(labels)
    for result in evaluation.protocols.values():
        np.testing.assert_allclose(result.prevalence, shares)
        assert result.chance == pytest.approx(shares.mean() if multi_label else shares.max())
    assert evaluation.to_dict()["chance"] == result.chance
    assert f"(chance {result.chance:.2%})" in str(evaluation)
    twos = np.concatenate([truth["labels"] for _, truth in made if len(truth["labels"]) == 2])
    shares = twos.mean(axis=0) if multi_label else np.bincount(twos) / len(twos)
    assert result.chance_by_subjects["2"] == pytest.approx(shares.mean() if multi_label else shares.max())
    if multi_label:
        rng = np.random.default_rng(3)
        random = [average_precision_score(labels[:, c], rng.random(len(labels))) for c in range(3)]
        assert result.chance == pytest.approx(np.mean(random), abs=0.05)


def test_chance_leaves_out_classes_that_nobody_shows() -> None:
    box = np.array([[0.0, 0.0, 9.0, 9.0]])
    found = {"boxes": box, "scores": [0.5], "probabilities": [[0.1, 0.2, 0.3]]}
    made = [(found, {"boxes": box, "labels": np.array([[1, 0, 0]])}), (found, {"boxes": box, "labels": [[1, 1, 0]]})]
    assert evaluator_of(made, True).compute()["official"].chance == 0.75


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("bootstrap", [None, Bootstrap(2)])
def test_nothing_to_say_is_no_error(multi_label: bool, bootstrap: Bootstrap | None) -> None:
    nobody = {"boxes": np.zeros((0, 4)), "scores": [], "probabilities": np.zeros((0, 3))}
    no_people = {"boxes": np.zeros((0, 4)), "labels": np.zeros((0, 3) if multi_label else 0)}
    someone = {"boxes": [[0, 0, 9, 9]], "labels": [[0, 0, 1]] if multi_label else [2], "attributes": {"age": ["Kid"]}}
    for made in ([], [(nobody, no_people)], [(nobody, someone)], [(nobody, no_people), (nobody, someone)]):
        evaluation = evaluator_of(made, multi_label).compute(bootstrap, details=True)
        details = details_of(evaluation)
        assert isinstance(details.calibration, Calibration)
        assert np.isnan(details.calibration.error)
        assert np.isnan(evaluation["official"].chance) == (not evaluation.num_people)
        assert len(details.worst_images) == len(details.subgroups) == evaluation.num_people
        for one in details.subgroups:
            assert (one.value, one.chance, one.box_recall) == (0, 1, 0)


def test_curves_are_written_down_at_every_hundredth_of_recall() -> None:
    precision, thresholds = own_curve(np.linspace(1, 0.1, 100), np.ones(100)).at()
    np.testing.assert_array_equal(precision, np.ones(100))
    np.testing.assert_allclose(thresholds, np.linspace(1, 0.1, 100))
