"""Callbacks are told what happens; stand-ins for W&B and MLflow get what the log gets."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsct.train import Callback, MLflow, RunInfo, WandB
from dsct.train.loggers import named_loggers
from tests.train.training_run import RECIPE, Interrupting, assert_same_run, log_rows, trainer

RECIPE_1 = dataclasses.replace(RECIPE, epochs=1)


class Notes(Callback):
    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    def on_start(self, run: RunInfo) -> None:
        self.notes.append(("start", run.resumed_at))
        self.config = run.config

    def on_step(self, record: Mapping[str, Any]) -> None:
        self.notes.append(("step", record["step"]))

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        self.notes.append(("epoch", record["val_loss"]))

    def on_end(self, error: BaseException | None) -> None:
        self.notes.append(("end", type(error)))


def test_callbacks_hear_everything_in_order(tmp_path: Path) -> None:
    first, second = Notes(), Notes()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, RECIPE_1, Interrupting(2), callbacks=[first]).fit()
    trainer(tmp_path, RECIPE_1, callbacks=[second]).fit(resume=True)
    assert first.notes == [("start", None), ("step", 1), ("step", 2), ("end", KeyboardInterrupt)]
    loss = float(log_rows(tmp_path)[0]["val_loss"])
    assert second.notes == [("start", 2), ("step", 3), ("step", 4), ("epoch", loss), ("end", type(None))]
    assert second.config["train"]["lr"] == RECIPE.lr
    assert not (tmp_path / "tensorboard").exists(), "only the callbacks that are given"
    third = Notes()
    trainer(tmp_path, RECIPE_1, callbacks=[third]).fit(resume=True)
    assert third.notes == [], "a complete run is not begun"


class Failing(Notes):
    """A service that stops answering at some event; ending it fails as well."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def __getattribute__(self, name: str) -> Any:
        if name in (object.__getattribute__(self, "__dict__").get("at"), "on_end"):
            raise ConnectionError("no answer\nfrom the service")
        return super().__getattribute__(name)


@pytest.mark.parametrize("event", ["on_step", "on_epoch", "on_end"])
def test_a_logger_that_fails_does_not_lose_the_run(
    event: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing, other = Failing(event), Notes()
    trainer(tmp_path / "a", RECIPE_1, callbacks=[failing, other], visible=True).fit()
    trainer(tmp_path / "b", RECIPE_1, callbacks=[]).fit()
    assert_same_run(tmp_path / "a", tmp_path / "b")
    other_kinds = [kind for kind, _ in other.notes]
    assert other_kinds == ["start", "step", "step", "step", "step", "epoch", "end"]
    told = [kind for kind, _ in failing.notes]
    assert told == {"on_step": ["start"], "on_epoch": other_kinds[:5], "on_end": other_kinds[:6]}[event]
    said = " ".join(capsys.readouterr().out.split())
    assert "Failing failed and is left out from here on: no answer from the service" in said


def test_a_logger_that_cannot_begin_stops_the_run_at_once(tmp_path: Path) -> None:
    first = Notes()
    with pytest.raises(OSError, match=r"^Failing cannot begin to log this run: no answer from the service$"):
        trainer(tmp_path, RECIPE_1, callbacks=[first, Failing("on_start")]).fit()
    assert first.notes == [("start", None), ("end", OSError)], "what began is ended"
    assert not (tmp_path / "last.pt").exists()


class FakeWandb(SimpleNamespace):
    """What of W&B is used."""

    def __init__(self) -> None:
        super().__init__(started=[], logged=[], finished=[], metrics=[])

    def init(self, **options: Any) -> Any:
        self.started.append(options)
        return SimpleNamespace(
            id="abc123",
            log=self.logged.append,
            finish=lambda exit_code: self.finished.append(exit_code),
            define_metric=lambda *names, **of: self.metrics.append((*names, *of.values())),
        )


def test_wandb_gets_the_numbers_and_goes_on_under_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, RECIPE_1, Interrupting(2), callbacks=[WandB(project="emotions")]).fit()
    trainer(tmp_path, RECIPE_1, callbacks=named_loggers(["wandb"])).fit(resume=True)
    began, resumed = wandb.started
    assert (began["project"], began["name"]) == ("emotions", tmp_path.name)
    assert began["config"]["train"]["lr"] == RECIPE.lr
    assert "id" not in began
    assert (resumed["id"], resumed["resume"]) == ("abc123", "allow")
    assert wandb.finished == [1, 0]
    assert [entry["step"] for entry in wandb.logged] == [1, 2, 3, 4, 4]
    assert wandb.logged[-1]["epoch/val_loss"] == float(log_rows(tmp_path)[0]["val_loss"])
    assert ("*", "step") in wandb.metrics


class FakeMlflow(SimpleNamespace):
    """What of MLflow is used."""

    def __init__(self) -> None:
        super().__init__(started=[], params={}, metrics=[], statuses=[], dicts=[])

    def start_run(self, **options: Any) -> Any:
        self.started.append(options)
        return SimpleNamespace(info=SimpleNamespace(run_id="f00"))

    def log_dict(self, values: dict[str, Any], name: str) -> None:
        self.dicts.append(name)

    def log_params(self, params: dict[str, Any]) -> None:
        assert not self.params, "MLflow refuses a parameter that is set twice"
        self.params = params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics.append((step, metrics))

    def end_run(self, status: str) -> None:
        self.statuses.append(status)


def test_mlflow_gets_the_numbers_and_goes_on_under_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, RECIPE_1, Interrupting(2), callbacks=[MLflow()]).fit()
    trainer(tmp_path, RECIPE_1, callbacks=[MLflow()]).fit(resume=True)
    assert mlflow.started == [{"run_name": tmp_path.name}, {"run_id": "f00"}]
    assert mlflow.params["train.lr"] == RECIPE.lr
    assert mlflow.statuses == ["KILLED", "FINISHED"]
    assert [step for step, _ in mlflow.metrics] == [1, 2, 3, 4, 4]
    assert {"step/epoch", "step/lr", "step/loss"} <= mlflow.metrics[0][1].keys()
    assert "step/step" not in mlflow.metrics[0][1]
    assert mlflow.metrics[-1][1]["epoch/val_loss"] == float(log_rows(tmp_path)[0]["val_loss"])
    assert all(value == value for _, metrics in mlflow.metrics for value in metrics.values()), "MLflow takes no NaN"


def test_what_is_missing_or_unknown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=rf"{name} needs the extra {name}: pip install 'dsct\[{name}\]'"):
            named_loggers([name])
    with pytest.raises(ValueError, match="a run can be logged to tensorboard, wandb, mlflow, got 'comet'"):
        named_loggers(["comet"])
