"""Batches of images of equal size: every image once, nothing padded, little in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsct.metrics import equal_sizes
from dsct.metrics.equal_sizes import Sample, batches_of_equal_size


def samples(sides: list[int]) -> list[tuple[int, Sample]]:
    """Images that hold their place in the list, with ten times that as id."""
    return [
        (10 * place, (torch.full((3, 2, side), float(place)), {"place": place})) for place, side in enumerate(sides)
    ]


@given(st.lists(st.integers(1, 6), max_size=60), st.integers(1, 5))
def test_every_image_comes_once_with_its_target_and_id_among_its_equals(sides: list[int], batch_size: int) -> None:
    seen = []
    for ids, batch in batches_of_equal_size(samples(sides), batch_size):
        assert batch.mask is None
        assert 1 <= len(ids) == len(batch.images) == len(batch.targets) <= batch_size
        for one, image, target in zip(ids, batch.images, batch.targets, strict=True):
            assert image.shape[2] == sides[target["place"]]
            assert (image == target["place"]).all()
            assert one == 10 * target["place"]
            seen.append(target["place"])
    assert sorted(seen) == list(range(len(sides)))


def test_images_of_one_size_keep_their_order() -> None:
    batches = [ids for ids, _ in batches_of_equal_size(samples([4] * 7), 3)]
    assert batches == [[0, 10, 20], [30, 40, 50], [60]]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_few_images_wait_however_many_sizes_there_are(batch_size: int) -> None:
    taken = handed_on = most = 0

    def stream() -> Iterator[tuple[int, Sample]]:
        nonlocal taken, most
        for sample in samples(list(range(1, 200))):
            taken += 1
            most = max(most, taken - handed_on)
            yield sample

    for ids, _ in batches_of_equal_size(stream(), batch_size):
        handed_on += len(ids)
    assert handed_on == taken == 199
    assert most <= equal_sizes._WAITING_BATCHES * batch_size


def test_a_batch_holds_an_image_at_least() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(batches_of_equal_size(samples([1]), 0))
