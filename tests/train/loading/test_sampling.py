"""Order, grouping and randomness of the training data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dsct.train.loading.sampling import ASPECT_RATIO_BORDERS, EpochBatches, SeededSamples, aspect_ratios, collate_parts
from tests.train.training_run import scenes


def test_epochs_shuffle_everything_and_can_start_anywhere() -> None:
    batches = EpochBatches(10, 4, seed=1)
    whole = list(batches)
    assert [len(batch) for batch in whole] == [4, 4, 2]
    assert sorted(index for batch in whole for index, _ in batch) == list(range(10))
    batches.start = 1
    assert list(batches) == whole[1:]
    batches.start, batches.epoch = 0, 1
    assert list(batches) != whole
    seeds = {seed for epoch in (whole, list(batches)) for batch in epoch for _, seed in batch}
    assert len(seeds) == 20
    with pytest.raises(ValueError, match="at least one image"):
        EpochBatches(0, 4, seed=1)


def test_augmentation_neither_uses_nor_disturbs_other_randomness() -> None:
    class Noise:
        split = "train"

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return torch.rand(2), {}

    samples = SeededSamples(Noise())
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = samples[0, 5][0]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(samples[0, 5][0], first)
    assert not torch.equal(samples[0, 6][0], first)


@pytest.mark.parametrize("length", [1, 7, 64, 101])
def test_images_of_similar_shape_share_batches(length: int) -> None:
    ratios = np.random.default_rng(0).choice([0.7, 1.0, 1.33, 1.5, 1.8], length)
    batches = EpochBatches(length, 4, seed=1, aspect_ratios=ratios)
    whole = list(batches)
    assert len(whole) == len(batches)
    assert sorted(index for batch in whole for index, _ in batch) == list(range(length))
    groups = np.digitize(ratios, ASPECT_RATIO_BORDERS)
    mixed = sum(len({groups[index] for index, _ in batch}) > 1 for batch in whole)
    assert mixed <= len(ASPECT_RATIO_BORDERS)
    batches.epoch = 1
    assert length < 5 or [index for batch in batches for index, _ in batch] != [i for b in whole for i, _ in b]
    batches.epoch, batches.start = 0, len(whole) // 2
    assert list(batches) == whole[len(whole) // 2 :]


def test_aspect_ratios_come_from_annotations() -> None:
    assert aspect_ratios(scenes("train", 3)) == pytest.approx([64 / 48] * 3)
    with pytest.raises(TypeError, match=r"annotations\(i\)\.size, got list"):
        aspect_ratios([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 entries, one per image, got 2"):
        EpochBatches(3, 1, 0, [1.0, 1.0])


@pytest.mark.parametrize(("samples", "parts", "sizes"), [(5, 2, [3, 2]), (2, 4, [1, 1]), (4, 1, [4]), (1, 1, [1])])
def test_parts_keep_the_order_and_are_padded_alone(samples: int, parts: int, sizes: list[int]) -> None:
    found = collate_parts([(torch.full((3, 2 + i, 3), float(i)), {"image_id": i}) for i in range(samples)], parts)
    assert [len(part.images) for part in found] == sizes
    assert [target["image_id"] for part in found for target in part.targets] == list(range(samples))
    assert found[0].images.shape[2] == 2 + sizes[0] - 1


def test_images_left_out_later_are_missing_from_batches_already_asked_for() -> None:
    batches = EpochBatches(6, 2, seed=0)
    before = [index for batch in batches for index, _ in batch]
    batches.left_out = frozenset({before[0], before[3]})
    assert [index for batch in batches for index, _ in batch] == [*before[1:3], *before[4:]]
    batches.left_out = frozenset()
    assert [index for batch in batches for index, _ in batch] == before
