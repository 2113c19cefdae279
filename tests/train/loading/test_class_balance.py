"""Class weights and repeat-factor sampling: the formulas, and runs that use them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import dsct
from dsct.data import AnnotatedDataset, Annotations
from dsct.train import TrainConfig, class_weights, repeat_factors
from dsct.train.loading.class_balance import epoch_length
from dsct.train.loading.sampling import EpochBatches
from tests.train.training_run import MODEL, RECIPE, Interrupting, assert_same_run, log_rows, scenes, trainer


def people(*images: list[int], several: bool = False) -> AnnotatedDataset:
    """One image per list; 3 classes, of which nobody shows the last."""
    records = []
    for number, labels in enumerate(images):
        boxes = np.array([[1, 2, 9, 9]] * len(labels), dtype=np.float32).reshape(-1, 4)
        numbers = np.array(labels, dtype=np.int64)
        chosen = np.eye(3, dtype=np.int64)[numbers] if several else numbers
        records.append(Annotations(Path(f"{number}.png"), boxes, chosen, (64, 48)))
    return AnnotatedDataset(records, split="train", class_names=("a", "b", "c"), multi_label=several)


@pytest.mark.parametrize("several", [False, True])
def test_weights_are_inverse_to_the_number_of_people(several: bool) -> None:
    data = people([0, 0, 1], [0], [], several=several)
    # 3 people of class a, 1 of b: in proportion to 1/3 and 1, mean over the 4 people 1.
    assert class_weights(data, "inverse") == pytest.approx((2 / 3, 2.0, 1.0))
    raw = [(1 - 0.999) / (1 - 0.999**n) for n in (3, 1)]
    scale = 4 / (3 * raw[0] + raw[1])
    assert class_weights(data, "effective_number") == pytest.approx((raw[0] * scale, raw[1] * scale, 1.0))
    assert class_weights(data, "none") is None
    assert class_weights(data, (1, 2, 3)) == (1, 2, 3)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class_weights must be 3 numbers, one per class, got 2"):
        class_weights(people([0]), (1.0, 2.0))
    with pytest.raises(ValueError, match="class_weights must be one of none, inverse, effective_number, got 'x'"):
        class_weights(people([0]), "x")
    with pytest.raises(TypeError, match="class balance needs a data set with annotations"):
        class_weights([1, 2], "inverse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"criterion must weigh the classes for class_weights='inverse'"):
        trainer(tmp_path, dataclasses.replace(RECIPE, class_weights="inverse"))


@pytest.mark.parametrize("several", [False, True])
def test_repeat_factors_are_those_of_the_rarest_class(several: bool) -> None:
    data = people([0, 0], [0, 1], [0], [], several=several)
    # Class a is in 3 of 4 images, b in 1 of 4.
    assert repeat_factors(data, 0.5).tolist() == pytest.approx([1, np.sqrt(2), 1, 1])
    assert repeat_factors(data, 0.81).tolist() == pytest.approx([np.sqrt(1.08), np.sqrt(3.24), np.sqrt(1.08), 1])
    assert repeat_factors(data, 0.1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("shapes", [None, [0.7, 1.3] * 10])
def test_epochs_repeat_images_by_their_factors(shapes: list[float] | None) -> None:
    factors = np.array([1.0] * 15 + [1.3] * 4 + [2.5])
    batches = EpochBatches(20, 4, 1, shapes, factors)
    assert len(batches) == -(-epoch_length(factors) // 4)
    seen: Counter[int] = Counter()
    for epoch in range(200):
        batches.epoch, batches.start = epoch, 0
        whole = list(batches)
        indices = [index for batch in whole for index, _ in batch]
        assert len(indices) == epoch_length(factors) == 23
        assert set(indices) == set(range(20))
        assert len({image for batch in whole for image in batch}) == 23, "a repeated image is augmented anew"
        assert [batches.size(number) for number in range(len(batches))] == list(map(len, whole))
        seen.update(indices)
        batches.start = 2
        assert list(batches) == whole[2:]
    means = np.array([seen[index] for index in range(20)]) / 200
    np.testing.assert_allclose(means, factors * 23 / factors.sum(), atol=0.1)


def test_without_repetition_the_order_is_the_old_one() -> None:
    once = EpochBatches(7, 2, 3, factors=np.ones(7))
    assert sorted(image for batch in once for image in batch) == sorted(
        image for batch in EpochBatches(7, 2, 3) for image in batch
    )


BALANCED = dataclasses.replace(
    RECIPE, class_weights="inverse", repeat_threshold=0.6, batching="aspect_ratio", accumulation=2
)


def test_a_balanced_run_goes_on_exactly(tmp_path: Path) -> None:
    weights = class_weights(scenes("train", 7), "inverse")
    whole, stopped, plain = (tmp_path / name for name in ("whole", "stopped", "plain"))
    trainer(whole, BALANCED, dsct.SetCriterion(MODEL, weights)).fit()
    disturbed = Interrupting(7)
    disturbed.criterion = dsct.SetCriterion(MODEL, weights)
    disturbed.class_weights = weights  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        trainer(stopped, BALANCED, disturbed).fit()
    trainer(stopped, BALANCED, dsct.SetCriterion(MODEL, weights)).fit(resume=True)
    assert_same_run(whole, stopped)
    trainer(plain, dataclasses.replace(BALANCED, class_weights="none", repeat_threshold=0.0)).fit()
    assert int(log_rows(whole)[-1]["step"]) > int(log_rows(plain)[-1]["step"]), "epochs become longer"


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("class_weights", "rare", "class_weights must be one of none, inverse, effective_number, got 'rare'"),
        ("class_weights", 3, "class_weights must be one of .* or one number per class, got 3"),
        ("repeat_threshold", 1.5, "repeat_threshold must be a share of the images, below 1, got 1.5"),
        ("repeat_threshold", -1, "repeat_threshold must be at least 0"),
        ("on_error", "ignore", "on_error must be one of stop, skip, got 'ignore'"),
    ],
)
def test_fields_out_of_range_are_refused(field: str, value: object, error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


def test_weights_by_class_come_back_from_json() -> None:
    config = TrainConfig(class_weights=(1.0, 2.5))
    assert TrainConfig.from_json(config.to_json()) == config


def test_presets_do_not_balance() -> None:
    for preset in ("paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s", "tiny"):
        config = getattr(TrainConfig, preset)()
        assert (config.class_weights, config.repeat_threshold, config.on_error) == ("none", 0.0, "stop")


def test_weights_travel_with_the_criterion() -> None:
    criterion = dsct.SetCriterion(MODEL, [1.0, 2, 3, 4, 5, 6, 7])
    assert "class_weights" not in criterion.state_dict()
    assert torch.equal(criterion.class_weights, torch.arange(1.0, 8.0))
