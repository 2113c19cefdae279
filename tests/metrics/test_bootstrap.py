"""Bootstrap weights and percentile intervals."""

from __future__ import annotations

import numpy as np
import pytest

from dsct.metrics import Bootstrap, bootstrap


def test_every_resample_draws_as_many_images_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    together = np.concatenate(list(Bootstrap(50).weights(7)))
    assert together.shape == (50, 7)
    assert (together.sum(axis=1) == 7).all()
    assert together.mean(axis=0) == pytest.approx(np.ones(7), abs=0.5)
    monkeypatch.setattr(bootstrap, "_NUMBERS_AT_ONCE", 7 * 8)
    blocks = list(Bootstrap(50).weights(7))
    assert [len(block) for block in blocks] == [8] * 6 + [2]
    np.testing.assert_array_equal(np.concatenate(blocks), together)


def test_no_image_is_no_error() -> None:
    assert [block.shape for block in Bootstrap(3).weights(0)] == [(3, 0)]


def test_interval_is_a_percentile_interval_without_what_is_undefined() -> None:
    values = np.array([[float(i), np.nan, float(i) if i % 2 else np.nan] for i in range(101)])
    ends = Bootstrap(confidence=0.9).interval(values)
    np.testing.assert_allclose(ends, [[5, 95], [np.nan, np.nan], np.quantile(values[1::2, 0], [0.05, 0.95])])


def test_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        data = rng.random(60)
        means = np.concatenate(list(Bootstrap(200, 0.8, seed).weights(60))) @ data / 60
        low, high = Bootstrap(200, 0.8).interval(means)
        covered += bool(low <= 0.5 <= high)
    assert 0.7 < covered / 300 < 0.88


@pytest.mark.parametrize("arguments", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_bad_arguments_are_named(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Bootstrap(**arguments)
