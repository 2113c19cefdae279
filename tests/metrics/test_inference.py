"""Running a model over a data set."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import dsct
from dsct.config import DSCTConfig
from dsct.data import Annotations, evaluation_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.metrics import Evaluator, collect, evaluate
from dsct.modules.precision import Precision

DATA = SyntheticDataset("test", 6, image_size=(64, 48), transforms=evaluation_transform(None))


def small_model(multi_label: bool) -> dsct.DSCT:
    torch.manual_seed(0)
    config = DSCTConfig.tiny(
        num_context_queries=6, k_spatial=3, k_semantic=2, enc_layers=1, dim_feedforward=32, multi_label=multi_label,
        num_classes=26 if multi_label else 7,
    )  # fmt: skip
    return dsct.DSCT(config).eval()


@pytest.fixture(scope="module")
def model() -> dsct.DSCT:
    return small_model(multi_label=False)


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


class SeveralSizes:
    """Scenes of five sizes in turn; what is said of their people is the size."""

    split = "test"
    sizes = ((64, 48), (80, 48), (96, 48), (64, 64), (112, 64))

    def __init__(self, transforms: Any, multi_label: bool, each: int = 3) -> None:
        self.parts = [
            SyntheticDataset("test", each, image_size=size, multi_label=multi_label, transforms=transforms)
            for size in self.sizes
        ]

    def __len__(self) -> int:
        return len(self.sizes) * self.parts[0].size

    def __getitem__(self, index: int) -> Any:
        image, target = self.parts[index % len(self.sizes)][index // len(self.sizes)]
        return image, {**target, "image_id": index}

    def annotations(self, index: int) -> Annotations:
        record = self.parts[index % len(self.sizes)].annotations(index // len(self.sizes))
        return dataclasses.replace(record, attributes={"width": (str(record.size[0]),) * len(record)})


@pytest.mark.parametrize("short_side", [None, 48])
@pytest.mark.parametrize("multi_label", [False, True])
def test_no_score_depends_on_batches_workers_or_shares(short_side: int | None, multi_label: bool) -> None:
    model = small_model(multi_label)
    data, post_process = SeveralSizes(evaluation_transform(short_side), multi_label), dsct.PostProcess(model.config)

    def predicted(shares: int = 1, **options: Any) -> Evaluator:
        evaluator = Evaluator(model.config.names, multi_label)
        for rank in range(shares):
            part = Evaluator(model.config.names, multi_label)
            collect(model, data, post_process, part, indices=range(rank, len(data), shares), **options)
            evaluator.merge(part)
        return evaluator

    one_by_one = predicted(batch_size=1)
    expected, people = one_by_one.compute(details=True), one_by_one.person_table()
    ways = [{"batch_size": size} for size in (2, 4, 8, 64)]
    ways += [{"batch_size": 3, "shares": 2}, {"batch_size": 4, "workers": 2}]
    for way in ways:
        evaluator = predicted(**way)
        found, table = evaluator.compute(details=True), evaluator.person_table()
        assert found.to_dict() == expected.to_dict(), way
        assert found.details is not None
        assert expected.details is not None
        assert [one.people for one in found.details.subgroups] == [one.people for one in expected.details.subgroups]
        for name, values in people.columns.items():
            if isinstance(values[0], float):
                np.testing.assert_allclose(table.columns[name], values, rtol=1e-4, atol=1e-5)
            else:
                assert table.columns[name] == values
    assert {int(width) for width in people.columns["width"]} == {width for width, _ in data.sizes}


@pytest.mark.parametrize("short_side", [None, 40])
def test_evaluation_sees_what_predict_gives(short_side: int | None) -> None:
    model = small_model(multi_label=True)
    model.preprocess = {"short_side": short_side, "long_side": 80}
    seen: dict[int, dict[str, torch.Tensor]] = {}

    class Kept(Evaluator):
        def update(self, results: Any, ground_truth: Any, image_ids: Any = None) -> None:
            seen.update(zip(image_ids, results, strict=True))

    data = SeveralSizes(evaluation_transform(**model.preprocess), multi_label=True)
    collect(model, data, dsct.PostProcess(model.config), Kept(model.config.names, True), batch_size=4)
    images = SeveralSizes(None, multi_label=True)
    for index, found in seen.items():
        people = dsct.predict(images[index][0], model, score_threshold=float("-inf"))
        order = people.queries
        np.testing.assert_allclose(people.boxes, found["boxes"][order], atol=1e-3)
        np.testing.assert_allclose(people.probabilities, found["probabilities"][order], atol=1e-5)
        np.testing.assert_allclose(people.scores, found["scores"][order], atol=1e-5)
    assert sorted(seen) == list(range(len(data)))


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


class Broken(SeveralSizes):
    """One of its images cannot be read."""

    def __getitem__(self, index: int) -> Any:
        if index == 4:
            raise OSError("images/004.jpg: the image cannot be read: truncated")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_without_a_traceback(model: dsct.DSCT, workers: int) -> None:
    with pytest.raises(OSError, match=r"^images/004\.jpg: the image cannot be read: truncated$"):
        collect(model, Broken(evaluation_transform(None), False), dsct.PostProcess(model.config),
                new_evaluator(model), workers=workers)  # fmt: skip
    told: list[tuple[int, str]] = []
    evaluator = new_evaluator(model)
    throughput = collect(model, Broken(evaluation_transform(None), False), dsct.PostProcess(model.config),
                         evaluator, workers=workers, on_error=lambda *one: told.append(one))  # fmt: skip
    assert told == [(4, "images/004.jpg: the image cannot be read: truncated")]
    assert len(evaluator) == throughput.images == 14
