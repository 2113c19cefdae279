"""The recipe: presets, validation, JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dsct.train import TrainConfig
from tests.train.training_run import RECIPE


def test_recipes() -> None:
    assert TrainConfig() == TrainConfig.official_emotic()
    assert (TrainConfig.paper_emotic().lr, TrainConfig.paper_emotic().batch_size) == (2e-4, 32)
    assert TrainConfig.paper_caer_s() == TrainConfig.paper_emotic()
    assert (TrainConfig.official_caer_s().lr, TrainConfig.official_caer_s().batch_size) == (2e-5, 4)
    assert TrainConfig.from_json(RECIPE.to_json()) == RECIPE


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("lr", 0.0), ("lr", math.nan), ("schedule", "cosin"), ("optimizer", "sgd"), ("select_by", "best"),
     ("workers", -1), ("clip", -0.1), ("accumulation", 0), ("precision", "half"), ("ema", 1.0), ("batching", "size"),
     ("epochs", 1.5), ("lr", math.inf), ("clip", math.inf), ("early_stop", -1),
     ("save_every", -1), ("lr_batch_size", -4), ("seed", 10**30),
     ("batching", 1), ("on_error", None), ("precision", None)],
)  # fmt: skip
def test_bad_recipes_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"TrainConfig: {field} must"):
        TrainConfig(**{field: value})


@pytest.mark.parametrize("value", ["3", None, True])
def test_a_number_of_another_type_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match="TrainConfig: epochs must be a number, got"):
        TrainConfig(epochs=value)
