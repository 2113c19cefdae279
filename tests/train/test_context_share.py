"""The share of each set of context queries in the weight, per epoch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import dsct
from dsct.data import evaluation_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.train.context_share import context_share, divides_weight
from tests.train.training_run import MODEL, log_rows, trainer

CPU = torch.device("cpu")


def data(size: int = 2) -> SyntheticDataset:
    return SyntheticDataset("val", size, image_size=(64, 48), transforms=evaluation_transform(None))


def test_shares_are_those_of_the_trace() -> None:
    model = dsct.DSCT(MODEL)
    found = context_share(model, data(), [1, 0], CPU)
    wanted = 0.0
    for index in (0, 1):
        with torch.no_grad():
            _, trace = model.eval()(data()[index][0][None], return_trace=True)
        layers = [layer["context_weights"][0] for layer in trace]
        wanted += sum(float(weights[:, MODEL.k_spatial :].sum(-1).mean()) for weights in layers) / len(layers)
    assert found["weight_semantic"] == pytest.approx(wanted)
    assert found["weight_spatial"] + found["weight_semantic"] == pytest.approx(found["images"]) == 2
    assert model.training is False


def test_a_share_too_small_for_a_difference_is_kept() -> None:
    model = dsct.DSCT(dataclasses.replace(MODEL, semantic_order="lowest"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    share = context_share(model, data(1), [0], CPU)["weight_semantic"]
    assert 0 < share < 1e-7


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, True), ({"aggregation": "split"}, False), ({"selection": ("spatial",)}, False), ({"selection": ()}, False),
        ({"fusion_layers": ()}, False), ({"num_context_queries": 0, "k_spatial": 0, "k_semantic": 0}, False),
    ],
)  # fmt: skip
def test_only_one_softmax_over_both_sets_divides(change: dict[str, object], says: bool) -> None:
    assert divides_weight(dsct.DSCT(dataclasses.replace(MODEL, **change))) is says  # type: ignore[arg-type]


def test_shares_are_in_the_log(tmp_path: Path) -> None:
    trainer(tmp_path).fit()
    for row in log_rows(tmp_path):
        assert float(row["weight_spatial"]) + float(row["weight_semantic"]) == pytest.approx(1)
