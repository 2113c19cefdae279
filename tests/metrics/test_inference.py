"""Running a model over a data set."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

import dsct
from dsct.config import DSCTConfig
from dsct.data import evaluation_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.metrics import Evaluator, collect, evaluate
from dsct.modules.precision import Precision

DATA = SyntheticDataset("test", 6, image_size=(64, 48), transforms=evaluation_transform(None))


@pytest.fixture(scope="module")
def model() -> dsct.DSCT:
    torch.manual_seed(0)
    config = DSCTConfig.tiny(num_context_queries=6, k_spatial=3, k_semantic=2, enc_layers=1, dim_feedforward=32)
    return dsct.DSCT(config).eval()


def new_evaluator(model: dsct.DSCT) -> Evaluator:
    return Evaluator(model.config.names, multi_label=False)


def test_shares_add_up_to_the_whole(model: dsct.DSCT) -> None:
    post_process = dsct.PostProcess(model.config)
    whole = evaluate(model, DATA, post_process, new_evaluator(model), batch_size=1)
    parts = [new_evaluator(model) for _ in range(2)]
    for rank, part in enumerate(parts):
        throughput = collect(model, DATA, post_process, part, batch_size=1, indices=range(rank, 6, 2))
        assert throughput.images == 3
        assert 0 < throughput.model_seconds <= throughput.seconds
    parts[1].merge(parts[0])
    assert parts[1].compute().to_dict() == whole.to_dict()
    assert whole.throughput is not None
    assert whole.throughput.images == whole.num_images == 6
    with pytest.raises(ValueError, match="0 was added before"):
        collect(model, DATA, post_process, new_evaluator(model), indices=[0, 0])


def test_a_process_without_images_is_no_error(model: dsct.DSCT) -> None:
    nothing = evaluate(model, DATA, dsct.PostProcess(model.config), new_evaluator(model), indices=[])
    assert nothing.num_images == 0


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_reads_nearly_the_same(model: dsct.DSCT, precision: Precision) -> None:
    seen: dict[str, list[torch.Tensor]] = {"float32": [], precision: []}
    for name, logits in seen.items():
        collect(
            model, DATA, dsct.PostProcess(model.config), new_evaluator(model), precision=name,  # type: ignore[arg-type]
            on_batch=lambda outputs, batch, logits=logits: logits.append(outputs["pred_logits"].float()),
        )  # fmt: skip
    full, low = torch.cat(seen["float32"]), torch.cat(seen[precision])
    assert not torch.equal(full, low)
    torch.testing.assert_close(full, low, atol=0.1, rtol=0.1)


def test_precision_must_be_known_and_the_mode_comes_back(model: dsct.DSCT) -> None:
    model.train()
    with pytest.raises(ValueError, match="precision must be one of"):
        collect(model, DATA, dsct.PostProcess(model.config), new_evaluator(model), precision="int8")  # type: ignore[arg-type]
    evaluate(model, DATA, dsct.PostProcess(model.config), new_evaluator(model), indices=[0])
    assert model.training
    model.eval()


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_frozen_norm_stays_frozen_after_evaluate(model: dsct.DSCT, succeeds: bool) -> None:
    def fail(outputs: object, batch: object) -> None:
        raise RuntimeError("on_batch fails")

    model.train()
    model.backbone.eval()
    model.transformer.encoder.layers[0].norm1.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    try:
        with nullcontext() if succeeds else pytest.raises(RuntimeError, match="on_batch fails"):
            evaluate(
                model, DATA, dsct.PostProcess(model.config), new_evaluator(model), indices=[0],
                on_batch=None if succeeds else fail,
            )  # fmt: skip
        assert {name: module.training for name, module in model.named_modules()} == modes
        assert len(set(modes.values())) == 2
    finally:
        model.eval()
