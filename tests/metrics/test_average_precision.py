"""Average precision against scikit-learn, with and without weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dsct.metrics import average_precision, weighted_average_precision


def test_average_precision_equals_scikit_learn_with_ties() -> None:
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 20, (300, 5)) / 20
    positive = generator.random((300, 5)) < [0.02, 0.2, 0.5, 0.9, 1.0]
    expected = [average_precision_score(positive[:, c], scores[:, c]) for c in range(5)]
    np.testing.assert_allclose(average_precision(scores, positive), expected, rtol=1e-12)


def test_average_precision_of_nothing() -> None:
    np.testing.assert_equal(average_precision(np.zeros((0, 2)), np.zeros((0, 2)), [3, 0]), [0.0, np.nan])
    np.testing.assert_equal(average_precision([[0.5]], [[False]]), [np.nan])


def test_average_precision_counts_positives_nobody_proposed() -> None:
    assert average_precision([[0.9], [0.8]], [[1], [1]], [4]).tolist() == [0.5]
    with pytest.raises(ValueError, match="num_positive"):
        average_precision([[0.9], [0.8]], [[1], [1]], [1])


@pytest.mark.parametrize("fractional", [False, True])
def test_weights_are_scikit_learns_sample_weight(fractional: bool) -> None:
    generator = np.random.default_rng(1)
    images, candidates, rows = 40, 200, 11  # more rows than one block of lanes, and no multiple of it
    scores = generator.integers(0, 15, (candidates, 3)) / 15
    positive = generator.random((candidates, 3)) < [0.05, 0.4, 0.9]
    image = generator.integers(images, size=candidates)
    weights = generator.integers(0, 4, (rows, images)) * (generator.random((rows, images)) if fractional else 1.0)
    got = weighted_average_precision(scores, positive, image, weights, weights[:, image] @ positive)
    for row in range(rows):
        weight = weights[row, image]
        expected = [average_precision_score(positive[:, c], scores[:, c], sample_weight=weight) for c in range(3)]
        np.testing.assert_allclose(got[row], expected, rtol=1e-12)


def test_random_scores_have_the_prevalence_as_average_precision() -> None:
    generator = np.random.default_rng(2)
    prevalence = np.array([0.05, 0.2, 0.5, 0.95])
    positive = generator.random((20_000, 4)) < prevalence
    got = average_precision(generator.random(positive.shape), positive)
    np.testing.assert_allclose(got, positive.mean(axis=0), atol=0.015)
    constant = average_precision(np.full(positive.shape, 0.3), positive)
    np.testing.assert_allclose(constant, positive.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [[0.5]]}, r"must both be \(K, C\)"),
        ({"scores": [[0.5], [float("nan")]]}, "must not be NaN"),
        ({"image": [0, 2]}, r"image must be \(2,\) numbers in 0\.\.1, one per candidate, got .* from 0 to 2"),
        ({"image": [0, -1]}, r"image must be \(2,\) numbers in 0\.\.1, .* from -1 to 0"),
        ({"image": [0]}, r"image must be \(2,\) numbers .* got shape \(1,\)"),
        ({"weights": [[1.0, -1.0]]}, "not negative"),
        ({"weights": [[1.0, np.inf]]}, "finite"),
        ({"num_positive": [[1], [1]]}, "a row per weighting"),
        ({"num_positive": [[0]]}, "at least the 1 proposed for class 0"),
    ],
)
def test_bad_weighting_is_named(change: dict[str, object], message: str) -> None:
    arguments = {"scores": [[0.5], [0.4]], "positive": [[1], [0]], "image": [0, 1], "weights": [[1.0, 1.0]],
                 "num_positive": [[1]]}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        weighted_average_precision(**{**arguments, **change})
