"""Average precision against scikit-learn, with and without weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from dsct import _dsct
from dsct.metrics import average_precision, weighted_average_precision
from tests.metrics.arrays import LAYOUTS, UNREADABLE


def candidates(count: int = 7, classes: int = 3, images: int = 4, rows: int = 9) -> dict[str, Any]:
    """In the order of the native function's arguments."""
    generator = np.random.default_rng(4)
    return {
        "scores": generator.integers(0, 5, (count, classes)) / 5,
        "positive": generator.random((count, classes)) < 0.5,
        "image": generator.integers(images, size=count),
        "weights": generator.integers(0, 3, (rows, images)).astype(float),
        "num_positive": np.full((rows, classes), 50.0),
    }


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [{}, {"count": 0}, {"images": 1}, {"rows": 0}, {"rows": 1}, {"classes": 1}])
def test_any_layout_is_measured_without_a_change(layout: str, size: dict[str, int]) -> None:
    arguments = candidates(**size)
    laid_out = {name: LAYOUTS[layout](array) for name, array in arguments.items()}
    expected = weighted_average_precision(**arguments)
    assert expected.shape == arguments["num_positive"].shape
    np.testing.assert_array_equal(weighted_average_precision(**laid_out), expected)
    np.testing.assert_array_equal(_dsct.average_precision(*laid_out.values()), expected)
    for name, array in arguments.items():
        np.testing.assert_array_equal(laid_out[name], array)


def test_no_class_at_all_is_no_error() -> None:
    assert weighted_average_precision(**candidates(classes=0)).shape == (9, 0)


@pytest.mark.parametrize("change", [
    lambda array: array.tolist(),
    lambda array: array.astype(array.dtype.newbyteorder()),
    lambda array: np.frombuffer(b"." + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape),
    torch.from_numpy,
], ids=["list", "other byte order", "not aligned", "tensor"])  # fmt: skip
def test_whatever_numpy_understands_is_measured(change: Any) -> None:
    arguments = candidates()
    changed = {name: change(array) for name, array in arguments.items()}
    np.testing.assert_array_equal(weighted_average_precision(**changed), weighted_average_precision(**arguments))


def test_any_byte_but_zero_is_true() -> None:
    arguments = candidates()
    odd = (arguments["positive"].astype(np.uint8) * 0x82).view(bool)
    found = weighted_average_precision(**{**arguments, "positive": odd})
    np.testing.assert_array_equal(found, weighted_average_precision(**arguments))


@pytest.mark.parametrize("name", ["scores", "weights", "num_positive"])
@pytest.mark.parametrize(("array", "message"), UNREADABLE)
def test_native_code_refuses_what_it_cannot_read(name: str, array: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"average_precision: {name} .*{message}"):
        _dsct.average_precision(*{**candidates(), name: array}.values())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positive": np.zeros((7, 3), np.uint8)}, TypeError, "positive must be a NumPy array of bool, got uint8"),
        ({"image": np.zeros(7, np.int32)}, TypeError, "sample must be a NumPy array of int64, got int32"),
        ({"image": np.zeros((7, 1), int)}, ValueError, r"sample must be \(K,\), got \(7, 1\)"),
        ({"image": np.zeros(6, int)}, ValueError, r"sample must be \(7\), one per candidate, got \(6\)"),
        ({"image": np.full(7, -1)}, ValueError, r"sample must be numbers in 0\.\.4, the weights in a row, got -1"),
        ({"image": np.full(7, 4)}, ValueError, r"sample must be numbers in 0\.\.4, the weights in a row, got 4"),
        ({"scores": np.zeros(7)}, ValueError, r"scores must be \(K, C\), got \(7\)"),
        ({"positive": np.zeros((7, 2), bool)}, ValueError, r"positive must be \(7, 3\), the shape of scores, got"),
        ({"num_positive": np.zeros((8, 3))}, ValueError, r"num_positive must be \(9, 3\), a row per weighting, got"),
        ({"weights": np.zeros((9, 0))}, ValueError, r"sample must be numbers in 0\.\.0"),
        ({"num_positive": np.full((9, 3), np.nan)}, ValueError, "num_positive must be finite and not negative"),
        ({"weights": np.broadcast_to(np.ones(1), (2**40, 4)), "num_positive": np.broadcast_to(np.ones(1), (2**40, 3))},
         RuntimeError, r"out of memory, arguments ask for \[1099511627776, 3\] numbers"),
    ],
)  # fmt: skip
def test_native_code_names_what_does_not_fit(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"average_precision: {message}"):
        _dsct.average_precision(*{**candidates(), **change}.values())
