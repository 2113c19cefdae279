"""Thresholds fitted on data, and the labels reported at them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from dsct.metrics import Evaluator, fit_thresholds, label_quality

RNG = np.random.default_rng(0)
POSITIVE = RNG.random((500, 3)) < [0.1, 0.4, 0.8]
SCORES = (0.3 * POSITIVE + 0.7 * RNG.random((500, 3))).astype(np.float32)
SUPPORT = POSITIVE.sum(axis=0)


def test_precision_equals_recall_at_the_break_even() -> None:
    thresholds = fit_thresholds(SCORES, POSITIVE)
    quality = label_quality(SCORES, POSITIVE, SUPPORT, thresholds)
    np.testing.assert_allclose(quality.precision, quality.recall, rtol=1e-12)
    np.testing.assert_array_equal((thresholds < SCORES).sum(axis=0), SUPPORT)


def test_f1_rule_beats_every_other_threshold() -> None:
    best = label_quality(SCORES, POSITIVE, SUPPORT, fit_thresholds(SCORES, POSITIVE, rule="f1"))
    for threshold in [0.0, *SCORES[::5, 0].tolist()]:
        assert (best.f1 >= label_quality(SCORES, POSITIVE, SUPPORT, [threshold] * 3).f1 - 1e-12).all()


def test_label_quality_equals_scikit_learn() -> None:
    limits = [0.2, 0.5, 0.99]
    quality = label_quality(SCORES, POSITIVE, SUPPORT, limits)
    arguments = {"y_true": POSITIVE, "y_pred": np.asarray(limits) < SCORES, "average": None, "zero_division": 0}
    np.testing.assert_allclose(quality.precision, precision_score(**arguments))
    np.testing.assert_allclose(quality.recall, recall_score(**arguments))
    np.testing.assert_allclose(quality.f1, f1_score(**arguments))
    assert quality.macro_f1 == pytest.approx(f1_score(**{**arguments, "average": "macro"}))


def test_neighbouring_float32_scores_are_told_apart() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    (threshold,) = fit_thresholds([[high], [low]], [[1], [0]])
    assert [bool(score > np.float32(threshold)) for score in (high, low)] == [True, False]


def test_equal_scores_stay_together_and_all_can_be_reported() -> None:
    assert fit_thresholds([[0.5]] * 4, [[1], [0], [0], [0]]).tolist() == [0.25]
    assert fit_thresholds([[0.75], [0.5]], [[1], [1]]).tolist() == [0.25]


def test_class_without_positives_gets_one_half() -> None:
    assert fit_thresholds([[0.9, 0.9]], [[1, 0]])[1] == 0.5
    assert fit_thresholds(np.zeros((0, 2)), np.zeros((0, 2)), [1, 0]).tolist() == [0.5, 0.5]
    quality = label_quality(np.array([[0.9]]), np.array([[False]]), np.array([0]), [0.5])
    assert np.isnan([quality.f1[0], quality.recall[0], quality.macro_f1]).all()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="rule must be one of"):
        fit_thresholds(SCORES, POSITIVE, rule="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be NaN"):
        fit_thresholds([[np.nan]], [[1]])
    with pytest.raises(ValueError, match="must both be"):
        fit_thresholds([0.5], [1])
    with pytest.raises(ValueError, match="num_positive must be"):
        fit_thresholds(SCORES, POSITIVE, [1])
    with pytest.raises(ValueError, match="one per class"):
        label_quality(SCORES, POSITIVE, SUPPORT, [0.5])
    with pytest.raises(ValueError, match="multi-label"):
        Evaluator(("a", "b"), multi_label=False).fit_thresholds()
    with pytest.raises(ValueError, match="thresholds must be None"):
        Evaluator(("a", "b"), multi_label=False).compute(thresholds=[0.5, 0.5])
