"""One model in many threads and beside its training: equal results, and a mode that only its owner switches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import dsct
from dsct.data.synthetic import SyntheticDataset
from dsct.metrics import Evaluator, evaluate
from dsct.prediction import shipped_weights
from dsct.prediction.people import People

OPTIONS: dict[str, Any] = {"short_side": 64, "long_side": 200, "score_threshold": 0.0, "nms_iou": None}
SIZES = [(96, 64)] * 4 + [(64, 96), (128, 64), (64, 64), (100, 64)]
IMAGES = [
    np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for number, (width, height) in enumerate(SIZES)
]


def a_model(**options: Any) -> dsct.DSCT:
    torch.manual_seed(0)
    return dsct.DSCT(dsct.DSCTConfig.tiny(dropout=0.5, **options))


def numbers(people: People) -> tuple[bytes, bytes, bytes]:
    return people.boxes.tobytes(), people.probabilities.tobytes(), people.queries.tobytes()


def modes(model: torch.nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@contextmanager
def in_another_thread(work: Callable[[], object]) -> Iterator[None]:
    """Calls `work` again and again meanwhile; what it raises is raised at the end."""
    ended = threading.Event()

    def again() -> int:
        count = 0
        while not ended.is_set() or not count:
            work()
            count += 1
        return count

    with ThreadPoolExecutor(1) as thread:
        counted = thread.submit(again)
        try:
            yield
        finally:
            ended.set()
    assert counted.result() > 0


@pytest.mark.parametrize("training", [True, False])
def test_eight_threads_find_what_one_finds(training: bool) -> None:
    model = a_model().train(training)
    expected = [numbers(dsct.predict(image, model, **OPTIONS)) for image in IMAGES]
    assert expected == [numbers(dsct.predict(image, model.eval(), **OPTIONS)) for image in IMAGES]
    before = modes(model.train(training))
    predictor = dsct.Predictor(model, **OPTIONS)
    with ThreadPoolExecutor(8) as threads:
        shared = threads.map(predictor, IMAGES * 4)
        own = threads.map(lambda image: dsct.predict(image, model, **OPTIONS), IMAGES * 4)
        looks = threads.map(predictor.look, IMAGES)
        assert [numbers(people) for people in shared] == expected * 4
        assert [numbers(people) for people in own] == expected * 4
        assert [numbers(look.people) for look in looks] == expected
    assert modes(model) == before


class Busy(dsct.DSCT):
    """Says in which mode it was at the beginning and the end of every pass, and how many ran at a time."""

    def __init__(self) -> None:
        super().__init__(dsct.DSCTConfig.tiny())
        self.seen: list[bool] = []
        self.inside: list[int] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.inside.append(1)
        self.seen.append(self.training)
        output = super().forward(*args, **kwargs)
        time.sleep(0.01)
        self.seen.append(self.training)
        assert self.inside == [1]
        self.inside.clear()
        return output


def test_the_model_runs_for_one_thread_after_the_other_in_evaluation_mode() -> None:
    model = Busy().train()
    predictor = dsct.Predictor(model, **OPTIONS)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(predictor, [IMAGES[0]] * 8))
        list(threads.map(lambda image: dsct.predict(image, model, **OPTIONS), [IMAGES[0]] * 8))
    assert model.seen == [False] * 32
    assert all(modes(model))


def test_the_owner_may_switch_the_mode_meanwhile() -> None:
    model = a_model()
    expected = numbers(dsct.predict(IMAGES[0], model, **OPTIONS))
    with in_another_thread(lambda: model.train(not model.training)):
        found = [numbers(dsct.predict(IMAGES[0], model, **OPTIONS)) for _ in range(20)]
    assert found == [expected] * 20


def losses(model: dsct.DSCT) -> list[float]:
    """Of some steps of training, with dropout."""
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 96)
    targets = [{"labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.4]])}] * 2
    criterion, optimizer = dsct.SetCriterion(model.config), torch.optim.SGD(model.parameters(), 1e-3)
    model.train()
    found = []
    for _ in range(6):
        loss = criterion.total(criterion(model(images), targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def evaluated(model: dsct.DSCT) -> object:
    data = SyntheticDataset("val", 2, image_size=(64, 48), transforms=dsct.data.evaluation_transform(None))
    return evaluate(model, data, dsct.PostProcess(model.config), Evaluator(model.config.names, multi_label=False))


BESIDE: dict[str, Callable[[dsct.DSCT], object]] = {
    "predict": lambda model: dsct.predict(IMAGES[0], model, **OPTIONS),
    "look": lambda model: dsct.Predictor(model, **OPTIONS).look(IMAGES[0]),
    "feature maps": lambda model: dsct.Predictor(model, **OPTIONS).feature_maps(IMAGES[0]),
    "evaluate": evaluated,
    "summary": dsct.summary,
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_training_beside_it_gives_the_losses_of_training_alone(beside: Callable[[dsct.DSCT], object]) -> None:
    expected = losses(a_model())
    assert losses(a_model()) == expected
    model = a_model()
    with in_another_thread(lambda: beside(model)):
        assert losses(model) == expected
    assert all(modes(model))
    assert all(parameter.requires_grad for parameter in model.transformer.parameters())


def test_the_shipped_weights_are_kept_and_logged_once_for_all_threads(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped_weights, "_SHIPPED", {})
    load, all_load = shipped_weights.load_model, threading.Barrier(4)

    def load_together(*arguments: Any) -> dsct.DSCT:
        all_load.wait(timeout=60)
        return load(*arguments)

    monkeypatch.setattr(shipped_weights, "load_model", load_together)
    with caplog.at_level(logging.WARNING, logger="dsct"), ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: dsct.Predictor().model, range(4)))
    assert all(model is models[0] for model in models)
    assert len(caplog.records) == 1


def test_a_model_may_predict_inside_its_own_pass() -> None:
    model, found = a_model(), []

    def nested(*_: object) -> None:
        if not found:
            found.append(None)
            found.append(dsct.predict(IMAGES[0], model, **OPTIONS))

    hook = model.backbone.register_forward_hook(nested)
    model.backbone[0].register_forward_hook(nested)
    outer = dsct.predict(IMAGES[0], model, **OPTIONS)
    hook.remove()
    assert numbers(found[1]) == numbers(outer)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_ends_a_pass_leaves_the_model_usable(error: type[BaseException]) -> None:
    model = a_model().train()
    model.backbone.eval()
    before, expected = modes(model), numbers(dsct.predict(IMAGES[0], model, **OPTIONS))

    def end(*_: object) -> None:
        raise error

    hook = model.transformer.encoder.register_forward_hook(end)
    with pytest.raises(error):
        dsct.predict(IMAGES[0], model, **OPTIONS)
    hook.remove()
    assert modes(model) == before
    assert torch.is_grad_enabled()
    with ThreadPoolExecutor(1) as thread:
        assert numbers(thread.submit(dsct.predict, IMAGES[0], model, **OPTIONS).result(timeout=60)) == expected


def test_an_event_loop_goes_on_and_may_cancel() -> None:
    model = a_model().train()
    expected = [numbers(dsct.predict(image, model, **OPTIONS)) for image in IMAGES]
    entered, released = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        entered.set()
        assert released.wait(60)

    async def scenario() -> list[People]:
        hook = model.backbone[0].register_forward_hook(wait)
        slow = asyncio.create_task(asyncio.to_thread(dsct.predict, IMAGES[0], model, **OPTIONS))
        while not entered.is_set():
            await asyncio.sleep(0.01)  # the loop turns while the model runs
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        hook.remove()
        released.set()
        return await asyncio.gather(*(asyncio.to_thread(dsct.predict, image, model, **OPTIONS) for image in IMAGES))

    assert [numbers(people) for people in asyncio.run(scenario())] == expected
    assert all(modes(model))
