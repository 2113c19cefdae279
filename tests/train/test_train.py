"""The training loop: exact resume, interruption, choice of the best epoch, what a run leaves."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import dsct
import dsct.train.engine as engine
import dsct.train.interrupt as interrupt
import dsct.train.validation as validation
from dsct.checkpoint import load_model, read_pickled_tensors
from dsct.config import DSCTConfig
from dsct.data import Batch, flip_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.train import TrainConfig, seed_everything
from dsct.train.resume import random_state, restore_random_state
from tests.train.training_run import (
    MODEL,
    RECIPE,
    Interrupting,
    assert_same_run,
    final_state,
    log_lines,
    log_rows,
    scenes,
    trainer,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    trainer(run_dir).fit()
    return run_dir


# 7 images in batches of 2 make 4 steps; validation adds 2 calls of the criterion.
@pytest.mark.parametrize("call", [1, 3, 4, 5, 6, 8], ids=lambda call: f"call{call}")
def test_interrupted_run_goes_on_exactly(call: int, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="can be resumed"):
        trainer(tmp_path, criterion=Interrupting(call)).fit()
    result = trainer(tmp_path).fit(resume=True)
    assert result.evaluation is not None
    assert_same_run(finished, tmp_path)


def test_loading_processes_change_nothing(finished: Path, tmp_path: Path) -> None:
    trainer(tmp_path, TrainConfig(**{**vars(RECIPE), "workers": 2})).fit()
    assert_same_run(finished, tmp_path)


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C as Python handles it, also where a shell that started this in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_second_interrupt_is_immediate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "SAME_SECONDS", -1.0)

    def press_twice(outputs: Any, targets: Any, **num_boxes: float) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer(tmp_path, criterion=press_twice).fit()
    assert "can be resumed" not in str(caught.value)
    assert not (tmp_path / "last.pt").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_run_leaves(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        ".lock", "best.safetensors", "last.pt", "log.csv", "log.jsonl", "config.json", "curves.png", "tensorboard",
    }  # fmt: skip
    about = json.loads((finished / "config.json").read_text())
    assert TrainConfig(**about["train"]) == RECIPE
    assert DSCTConfig(**about["model"]) == MODEL
    rows = log_rows(finished)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8")]
    assert {"lr", "train_loss", "train_loss_ce", "val_loss", "val_official_accuracy", "val_box_recall"} <= rows[
        0
    ].keys()
    assert "train_loss_ce_0" not in rows[0]
    lines = log_lines(finished)
    assert [line["kind"] for line in lines] == [*["step"] * 4, "epoch"] * 2
    assert "loss_ce_0" in lines[0]
    # A row holds the mean over the images of the epoch: batches of 2, 2, 2 and 1.
    losses = [line["loss"] for line in lines[:4]]
    assert float(rows[0]["train_loss"]) == pytest.approx(np.average(losses, weights=[2, 2, 2, 1]))


def test_state_file_is_a_usable_model(finished: Path) -> None:
    model = load_model(finished / "last.pt")
    saved = final_state(finished)["model"]
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())


def test_loss_falls(tmp_path: Path) -> None:
    config = TrainConfig.tiny(epochs=12, batch_size=4, warmup_steps=0, lr=4e-3)
    trainer(tmp_path, config, train_data=scenes("train", 4), val_data=scenes("val", 1)).fit()
    losses = [float(row["train_loss"]) for row in log_rows(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]


def test_best_epoch_is_the_best_on_validation_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.2, 0.8, 0.5])

    def scripted(*arguments: Any, **options: Any) -> None:
        wanted = next(values)
        boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        guess = {"boxes": boxes, "scores": torch.ones(1), "probabilities": torch.eye(7)[:1]}
        truth = [{"boxes": boxes, "labels": torch.tensor([int(i >= wanted * 10)])} for i in range(10)]
        arguments[3].update([guess] * 10, truth)
        options["on_batch"](outputs, batch)

    batch = Batch(torch.zeros(1, 3, 48, 64), None, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}])
    outputs = dsct.DSCT(MODEL)(batch.images)
    monkeypatch.setattr(validation, "collect", scripted)
    snapshots = []
    monkeypatch.setattr(engine, "save_model", lambda model, path, tensors: snapshots.append(path))
    result = trainer(tmp_path, TrainConfig(**{**vars(RECIPE), "epochs": 3})).fit()
    assert (result.best, result.best_epoch) == (0.8, 2)
    assert [row["is_best"] for row in log_rows(tmp_path)] == ["1", "1", "0"]
    assert snapshots == [tmp_path / "best.safetensors"] * 2


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_images(loss: float, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"with the images \[\d, \d\], in epoch 2, step 6"):
        trainer(tmp_path, criterion=Interrupting(8, loss)).fit()
    state = final_state(tmp_path)
    assert state["progress"]["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    assert trainer(tmp_path).fit(resume=True).best_epoch is not None


def test_predictions_that_are_not_finite_stop_and_name_the_images(tmp_path: Path) -> None:
    class Overexposed(SyntheticDataset):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image, target = super().__getitem__(index)
            return image * math.inf, target

    data = Overexposed("train", 2, image_size=(64, 48), transforms=flip_transform())
    with pytest.raises(FloatingPointError, match=r"predictions are not finite .*\[[01], [01]\], in epoch 1, step 1"):
        trainer(tmp_path, train_data=data).fit()
    assert not (tmp_path / "last.pt").exists()


def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    criterion = Interrupting(at=0)
    criterion.total = lambda losses: losses["loss_ce"] + (losses["loss_ce"] * 0).sqrt()  # type: ignore[method-assign]
    run = trainer(tmp_path, criterion=criterion)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"gradient norm is nan with .*\[\d, \d\], in epoch 1, step 1"):
        run.fit()
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())


def test_refuses_to_choose_on_test_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="test split"):
        trainer(tmp_path, val_data=scenes("test", 1))


def test_refuses_to_overwrite_or_to_change_a_run(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="already holds a run"):
        trainer(finished).fit()
    with pytest.raises(FileNotFoundError, match="no training state"):
        trainer(tmp_path).fit(resume=True)
    with pytest.raises(ValueError, match=r"lr was 0\.001, is 0\.5"):
        trainer(finished, TrainConfig(**{**vars(RECIPE), "lr": 0.5})).fit(resume=True)
    done = trainer(finished, TrainConfig(**{**vars(RECIPE), "log_every": 3})).fit(resume=True)
    assert done.evaluation is None


def test_random_state_round_trip(tmp_path: Path) -> None:
    def draw() -> tuple[Any, ...]:
        import random

        return random.random(), float(np.random.random()), float(np.random.standard_normal()), float(torch.rand(()))

    seed_everything(3)
    draw()
    torch.save({"state": random_state()}, tmp_path / "state.pt")
    expected = draw()
    restore_random_state(read_pickled_tensors(tmp_path / "state.pt")["state"])
    assert draw() == expected


EVERYTHING = dataclasses.replace(
    RECIPE, batch_size=3, accumulation=2, ema=0.9, activation_checkpointing=True, batching="aspect_ratio", save_every=1,
)  # fmt: skip


def test_a_run_with_everything_on_goes_on_exactly(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    trainer(whole, EVERYTHING).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer(stopped, EVERYTHING, criterion=Interrupting(4)).fit()
    trainer(stopped, EVERYTHING).fit(resume=True)
    assert_same_run(whole, stopped)
    averages = [final_state(run)["average"] for run in (whole, stopped)]
    assert all(torch.equal(averages[0][name], tensor) for name, tensor in averages[1].items())
    best = [load_model(run / "best.safetensors").state_dict() for run in (whole, stopped)]
    assert all(torch.equal(best[0][name], tensor) for name, tensor in best[1].items())


def test_the_average_is_what_is_kept_as_best(tmp_path: Path) -> None:
    trainer(tmp_path, dataclasses.replace(RECIPE, epochs=1, ema=0.9)).fit()
    state = final_state(tmp_path)
    best = load_model(tmp_path / "best.safetensors").state_dict()
    assert all(torch.equal(tensor, state["average"][name]) for name, tensor in best.items())
    assert not torch.equal(best["query_embed.weight"], state["model"]["query_embed.weight"])


def test_sigterm_stops_as_ctrl_c_does(tmp_path: Path) -> None:
    class Terminated(Interrupting):
        def total(self, losses: Any) -> Any:
            if self.calls == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().total(losses)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="after step 2"):
        trainer(tmp_path, criterion=Terminated(at=0)).fit()
    assert signal.getsignal(signal.SIGTERM) is before
    assert final_state(tmp_path)["progress"]["step"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_stop_in_validation_is_noticed_after_its_batch(number: signal.Signals, tmp_path: Path) -> None:
    class Terminated(Interrupting):
        def total(self, losses: Any) -> Any:
            if self.calls == 5:  # of 4 steps and 3 images of validation, one at a time
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)  # torchrun passes on what a cluster sent to all
            return super().total(losses)

    criterion = Terminated(at=0)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(KeyboardInterrupt, match="stopped in epoch 1 after step 4"):
        trainer(tmp_path, criterion=criterion).fit()
    assert criterion.calls == 5
    assert not (tmp_path / "log.csv").exists()
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers


def test_a_stop_while_images_are_looked_at_is_noticed_at_once(tmp_path: Path) -> None:
    class Terminating(SyntheticDataset):
        opened = 0

        def __getitem__(self, index: int) -> Any:
            self.opened += 1
            if self.opened == 3:
                signal.raise_signal(signal.SIGTERM)
            return super().__getitem__(index)

    data = Terminating("train", 7, image_size=(64, 48), transforms=flip_transform())
    run = trainer(tmp_path, dataclasses.replace(RECIPE, on_error="skip"), train_data=data)
    with pytest.raises(KeyboardInterrupt, match="stopped in epoch 1 after step 0"):
        run.fit()
    assert data.opened == 3


def test_the_validation_loss_is_that_of_all_people(finished: Path) -> None:
    model, criterion = load_model(finished / "last.pt"), dsct.SetCriterion(MODEL)
    sums: dict[str, float] = {}
    people = 0
    for image, target in (scenes("val", 3)[index] for index in range(3)):
        with torch.no_grad():
            terms = criterion(model(image[None]), [target], num_boxes=1.0)
        for name, term in {"loss": criterion.total(terms), **terms}.items():
            sums[name] = sums.get(name, 0.0) + float(term)
        people += len(target["boxes"])
    row = log_rows(finished)[-1]
    assert people > 3
    for name in ("loss", "loss_ce", "loss_bbox", "loss_giou"):
        assert float(row[f"val_{name}"]) == pytest.approx(sums[name] / people, rel=1e-4), name


def test_early_stop_ends_when_validation_sees_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(RECIPE, epochs=9, early_stop=2, lr=1e-12)
    run = trainer(tmp_path, config)
    values = iter([0.5, 0.6, 0.6, 0.4, 0.9])

    class Scripted:
        box_recall = 0.0

        def __getitem__(self, protocol: str) -> Any:
            return SimpleNamespace(value=next(values), metric="accuracy", protocol=protocol, chance=0.1)

        def to_dict(self) -> dict[str, float]:
            return {}

    monkeypatch.setattr(run, "_validate", lambda _stop: validation.Validation({"loss": 0.0}, Scripted(), {}))  # type: ignore[arg-type]
    result = run.fit()
    assert result.best_epoch == 2
    assert len(log_rows(tmp_path)) == 4
    assert trainer(tmp_path, config).fit(resume=True).evaluation is None


def test_state_is_written_between_epochs(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError):
        trainer(tmp_path, dataclasses.replace(RECIPE, save_every=1), Interrupting(3, math.nan)).fit()
    assert final_state(tmp_path)["progress"]["step"] == 2
    assert trainer(tmp_path).fit(resume=True).best_epoch is not None


def test_a_state_that_could_not_be_resumed_is_not_written(tmp_path: Path) -> None:
    class Spoiling(Interrupting):
        """Writes infinity into a moment of the optimizer."""

        def __call__(self, *arguments: Any, **num_boxes: float) -> Any:
            losses = super().__call__(*arguments, **num_boxes)
            if self.calls == 3:
                moments = list(run._step.optimizer.state.values())[-1]
                moments["exp_avg_sq"].view(-1)[0] = math.inf
            return losses

    run = trainer(tmp_path, dataclasses.replace(RECIPE, save_every=1), Spoiling(at=0))
    said = (
        rf"^{tmp_path}/last\.pt is not written: optimizer\.state\.\d+\.exp_avg_sq must be finite, got NaN or infinity"
    )
    with pytest.raises(ValueError, match=said):
        run.fit()
    assert final_state(tmp_path)["progress"]["step"] == 2
    assert trainer(tmp_path).fit(resume=True).best_epoch is not None


def test_a_full_disk_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = 0

    def full(file: Path, content: Any) -> int:
        nonlocal writes
        writes += ".last.pt." in file.name
        if writes < 3:  # before and after the first validation
            return write(file, content)
        write(file, b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        trainer(tmp_path).fit()
    monkeypatch.undo()
    assert final_state(tmp_path)["progress"] == {**final_state(tmp_path)["progress"], "epoch": 1, "step": 4}
    assert not list(tmp_path.glob(".*partial"))
    assert trainer(tmp_path).fit(resume=True).evaluation is not None


def test_a_torn_state_is_refused_in_one_sentence(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes((finished / "last.pt").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"last\.pt is no readable PyTorch file"):
        trainer(tmp_path).fit(resume=True)


def test_curves_show_the_run(finished: Path) -> None:
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_gets_the_same_numbers(finished: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    losses = [event.value for event in events.Scalars("epoch/train_loss")]
    assert losses == pytest.approx([float(row["train_loss"]) for row in log_rows(finished)])
