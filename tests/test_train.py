"""The training loop: recipe, exact resume, interruption, choice of the best epoch, logs."""

from __future__ import annotations

import csv
import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dsct
import dsct.train.engine as engine
from dsct.checkpoint import load_model, read_pickled_tensors
from dsct.config import DSCTConfig
from dsct.data import evaluation_transform, flip_transform
from dsct.data.synthetic import SyntheticDataset
from dsct.metrics import Evaluator
from dsct.train import TrainConfig, Trainer, build_scheduler, parameter_groups, seed_everything
from dsct.train.optimizer import build_optimizer, lr_factor
from dsct.train.resume import random_state, restore_random_state
from dsct.train.run_log import RunLog
from dsct.train.sampling import EpochBatches, SeededSamples

MODEL = DSCTConfig.tiny(
    num_context_queries=6, num_subject_queries=3, k_spatial=3, k_semantic=2, enc_layers=1, dim_feedforward=32,
    dropout=0.1,
)  # fmt: skip
RECIPE = TrainConfig.tiny(epochs=2, batch_size=2, warmup_steps=2, log_every=1, seed=7)
TIMES = {"seconds", "images_per_second"}


class Interrupting:
    """A criterion that presses Ctrl-C, or breaks, at a given call."""

    def __init__(self, at: int, loss: float | None = None) -> None:
        self.criterion = dsct.SetCriterion(MODEL)
        self.calls = 0
        self.at = at
        self.loss = loss

    def __call__(self, outputs: Any, targets: Any) -> Any:
        self.calls += 1
        losses = self.criterion(outputs, targets)
        if self.calls == self.at and self.loss is None:
            signal.raise_signal(signal.SIGINT)
        if self.calls == self.at and self.loss is not None:
            losses["loss_ce"] = losses["loss_ce"] * self.loss
        return losses

    def total(self, losses: Any) -> Any:
        return self.criterion.total(losses)


def scenes(split: str, size: int) -> SyntheticDataset:
    transforms = flip_transform() if split == "train" else evaluation_transform(short_side=None)
    return SyntheticDataset(split, size, image_size=(64, 48), transforms=transforms)


def trainer(run_dir: Path, config: TrainConfig = RECIPE, criterion: Any = None, **options: Any) -> Trainer:
    seed_everything(config.seed)
    arguments = {"train_data": scenes("train", 7), "val_data": scenes("val", 3), "visible": False, **options}
    return Trainer(
        dsct.DSCT(MODEL), criterion or dsct.SetCriterion(MODEL), dsct.PostProcess(MODEL), config=config,
        run_dir=run_dir, **arguments,
    )  # fmt: skip


def final_state(run_dir: Path) -> dict[str, Any]:
    return read_pickled_tensors(run_dir / "last.pt")


def log_rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "log.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def log_lines(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def assert_same_run(first: Path, second: Path) -> None:
    a, b = final_state(first), final_state(second)
    assert a["model"].keys() == b["model"].keys()
    for name, tensor in a["model"].items():
        assert torch.equal(tensor, b["model"][name]), name
    for index, entry in a["optimizer"]["state"].items():
        assert all(torch.equal(value, b["optimizer"]["state"][index][key]) for key, value in entry.items())
    assert torch.equal(a["random"]["torch"], b["random"]["torch"])
    assert a["scheduler"] == b["scheduler"]
    assert log_rows(first) == log_rows(second)
    assert log_lines(first) == log_lines(second)


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


def test_second_interrupt_is_immediate(tmp_path: Path) -> None:
    def press_twice(outputs: Any, targets: Any) -> Any:
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
        "best.safetensors", "last.pt", "log.csv", "log.jsonl", "config.json",
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
    config = TrainConfig.tiny(epochs=25, batch_size=4, warmup_steps=0, lr=2e-3)
    trainer(tmp_path, config, train_data=scenes("train", 4), val_data=scenes("val", 1)).fit()
    losses = [float(row["train_loss"]) for row in log_rows(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]


def test_best_epoch_is_the_best_on_validation_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.2, 0.8, 0.5])

    def scripted(*arguments: Any, **options: Any) -> Any:
        wanted = next(values)
        evaluator = Evaluator(("right", "wrong"), multi_label=False)
        box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        guess = {"boxes": box, "scores": torch.ones(1), "probabilities": torch.tensor([[0.9, 0.1]])}
        evaluator.update(
            [guess] * 10, [{"boxes": box, "labels": torch.tensor([int(i >= wanted * 10)])} for i in range(10)]
        )
        options["on_batch"]({**outputs}, batch)
        return evaluator.compute()

    batch = engine.Batch(
        torch.zeros(1, 3, 48, 64), None, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}]
    )
    outputs = dsct.DSCT(MODEL)(batch.images)
    monkeypatch.setattr(engine, "evaluate", scripted)
    snapshots = []
    monkeypatch.setattr(engine, "save_model", lambda model, path: snapshots.append(path))
    result = trainer(tmp_path, TrainConfig(**{**vars(RECIPE), "epochs": 3})).fit()
    assert (result.best, result.best_epoch) == (0.8, 2)
    assert [row["is_best"] for row in log_rows(tmp_path)] == ["1", "1", "0"]
    assert snapshots == [tmp_path / "best.safetensors"] * 2


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_images(loss: float, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 6, with the images \[\d, \d\]"):
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
    with pytest.raises(FloatingPointError, match=r"predictions are not finite in epoch 1, step 1, .*\[[01], [01]\]"):
        trainer(tmp_path, train_data=data).fit()
    assert not (tmp_path / "last.pt").exists()


def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    criterion = Interrupting(at=0)
    criterion.total = lambda losses: losses["loss_ce"] + (losses["loss_ce"] * 0).sqrt()  # type: ignore[method-assign]
    run = trainer(tmp_path, criterion=criterion)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"gradient norm is nan in epoch 1, step 1"):
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


def test_parameter_groups_cover_what_is_trained_once() -> None:
    model = dsct.DSCT(MODEL)
    frozen = next(model.parameters()).requires_grad_(False)
    config = TrainConfig(lr=1.0, lr_backbone_mult=0.1, lr_linear_proj_mult=0.2)
    groups = {group["name"]: group for group in parameter_groups(model, config)}
    assert {name: group["lr"] for name, group in groups.items()} == {"main": 1.0, "linear_proj": 0.2, "backbone": 0.1}
    members = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters() if p is not frozen)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    placing = {names[id(parameter)] for parameter in groups["linear_proj"]["params"]}
    assert all("sampling_offsets" in name or "reference_points" in name for name in placing)
    assert "transformer.reference_points.weight" in placing
    assert all(names[id(parameter)].startswith("backbone.") for parameter in groups["backbone"]["params"])
    with pytest.raises(ValueError, match="requires_grad"):
        parameter_groups(model.requires_grad_(False), config)


def test_schedules() -> None:
    step = lr_factor(TrainConfig(epochs=50, lr_drop=40), steps_per_epoch=10)
    assert [step(399), step(400)] == [1.0, 0.1]
    cosine = lr_factor(TrainConfig(epochs=10, schedule="cosine", warmup_steps=4), steps_per_epoch=10)
    assert cosine(0) == pytest.approx(0.2)
    assert cosine(50) == pytest.approx(0.5)
    assert cosine(100) == pytest.approx(0.0, abs=1e-12)
    config = TrainConfig(epochs=2, lr=1.0, lr_drop=1)
    optimizer = build_optimizer(torch.nn.Linear(1, 1), config)
    scheduler = build_scheduler(optimizer, config, steps_per_epoch=2)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [1.0, 1.0, 0.1, 0.1]


def test_optimizers() -> None:
    kinds = [type(build_optimizer(torch.nn.Linear(1, 1), TrainConfig(optimizer=name))) for name in ("adamw", "adam")]
    assert kinds == [torch.optim.AdamW, torch.optim.Adam]


def test_recipes() -> None:
    assert TrainConfig() == TrainConfig.official_emotic()
    assert (TrainConfig.paper_emotic().lr, TrainConfig.paper_emotic().batch_size) == (2e-4, 32)
    assert TrainConfig.paper_caer_s() == TrainConfig.paper_emotic()
    assert (TrainConfig.official_caer_s().lr, TrainConfig.official_caer_s().batch_size) == (2e-5, 4)
    assert TrainConfig.from_json(RECIPE.to_json()) == RECIPE


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("lr", 0.0), ("lr", math.nan), ("schedule", "cosin"), ("optimizer", "sgd"), ("select_by", "best"),
     ("workers", -1), ("clip", -0.1)],
)  # fmt: skip
def test_bad_recipes_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"TrainConfig: {field} must"):
        TrainConfig(**{field: value})


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


def test_log_rewinds_to_a_step(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.step({"step": step, "loss": math.nan})
        log.epoch({"epoch": step, "step": step, "note": "a, b"})
    log.rewind(2)
    lines = [json.loads(line) for line in log.jsonl_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 1, 2, 2]
    assert lines[0]["loss"] is None
    log.epoch({"epoch": 3, "step": 3, "note": "again"})
    with log.csv_path.open(newline="") as file:
        assert [row["note"] for row in csv.DictReader(file)] == ["a, b", "a, b", "again"]
    with pytest.raises(ValueError, match="columns"):
        log.epoch({"epoch": 4, "step": 4})
