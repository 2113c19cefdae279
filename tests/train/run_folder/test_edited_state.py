"""A ``last.pt`` that was edited and saved again: one sentence names the file and the key."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dsct.checkpoint import read_pickled_tensors
from tests.train.training_run import Interrupting, trainer


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        trainer(run_dir, criterion=Interrupting(2), callbacks=[]).fit()
    return run_dir


def gone(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.pop(key)


def put(place: str, value: Any) -> Callable[[dict[str, Any]], object]:
    *way, last = (int(part) if part.isdecimal() else part for part in place.split("/"))

    def change(state: Any) -> None:
        for part in way:
            state = state[part]
        state[last] = value

    return change


def first_weight(state: dict[str, Any], value: Any) -> None:
    state["model"][next(iter(state["model"]))] = value


def spoil(place: str, number: float = math.nan) -> Callable[[dict[str, Any]], object]:
    """Another number in the last tensor there."""

    def change(state: Any) -> None:
        for part in place.split("/"):
            state = state[int(part) if part.isdecimal() else part]
        list(state.values())[-1].view(-1)[-1] = number

    return change


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    **{f"no {key}": (gone(key), f"{key} is missing")
       for key in ("model", "optimizer", "scheduler", "scaler", "random", "progress")},
    "model None": (put("model", None), "model must be a dictionary"),
    "weight gone": (lambda state: state["model"].popitem(), r"model\..* is missing"),
    "weight more": (put("model/more", torch.zeros(1)), "model has an unknown key 'more'"),
    "weight other shape": (lambda state: first_weight(state, torch.zeros(3, 5)), r"got torch\.float32 of shape"),
    "weight a list": (lambda state: first_weight(state, [1.0]), "must be a tensor"),
    "weight NaN": (spoil("model"), r"model\.\S+ must be finite, got NaN or infinity in 1 of"),
    "moment NaN": (spoil("optimizer/state/0"), r"optimizer\.state\.0\.\w+ must be finite, got NaN or infinity in 1 of"),
    "moment infinite": (spoil("optimizer/state/0", math.inf), r"optimizer\.state\.0\.\w+ must be finite"),
    "no moments": (put("optimizer/state", {}), r"optimizer\.state is empty"),
    "a moment gone": (lambda state: state["optimizer"]["state"][3].pop("exp_avg"), r"state\.3\.exp_avg is missing"),
    "moment other shape": (put("optimizer/state/0/exp_avg_sq", torch.zeros(2)), r"state\.0\.exp_avg_sq must be"),
    "moment of nobody": (put("optimizer/state/9999", {}), r"optimizer\.state\.9999 is of no parameter"),
    "no groups": (put("optimizer/param_groups", []), r"optimizer\.param_groups must be a list of"),
    "no lr": (lambda state: state["optimizer"]["param_groups"][0].pop("lr"), r"param_groups\.0\.lr is missing"),
    "lr text": (put("optimizer/param_groups/0/lr", "fast"), r"param_groups\.0\.lr must be a number, got 'fast'"),
    "optimizer a list": (put("optimizer", [1]), "optimizer must be a dictionary, got a list"),
    "schedule text": (put("scheduler/last_epoch", "2"), r"scheduler\.last_epoch must be a number of steps"),
    "schedule empty": (put("scheduler", {}), r"scheduler\.base_lrs is missing"),
    "scaler more": (put("scaler/scale", 2.0), "scaler has an unknown key 'scale'"),
    "random None": (put("random", None), "random must be a list"),
    "random empty": (put("random", []), "random must be a list"),
    "random short": (put("random/0/torch", torch.zeros(3, dtype=torch.uint8)), r"random\.0\.torch is no state"),
    "random other": (put("random/0/python", (3, (1, 2), None)), r"random\.0\.python is no state"),
    "random no numpy": (lambda state: state["random"][0].pop("numpy"), r"random\.0\.numpy is missing"),
    "progress more": (put("progress/mood", 1), "progress has an unknown key 'mood'"),
    "progress less": (lambda state: state["progress"].pop("step"), r"progress\.step is missing"),
    "progress text": (put("progress/epoch", "1"), r"progress\.epoch must be a number of steps, got '1'"),
    "progress huge": (put("progress/position", 10**30), r"progress\.position must be .*, got a number that is too"),
    "progress negative": (put("progress/epoch", -1), r"progress\.epoch must be"),
    "progress empty": (put("progress/sums", {}), r"progress\.sums must be of 2 steps"),
    "progress list": (put("progress", []), "progress must be a dictionary"),
    "recipe a number": (put("train_config", 3), "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_state_is_one_sentence(edit: str, stopped: Path, tmp_path: Path) -> None:
    state = copy.deepcopy(read_pickled_tensors(stopped / "last.pt"))
    change, said = EDITS[edit]
    change(state)
    torch.save(state, tmp_path / "last.pt")
    run = trainer(tmp_path, callbacks=[])
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with pytest.raises(ValueError, match=said) as caught:
        run.fit(resume=True)
    assert str(tmp_path / "last.pt") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())


def test_an_older_state_goes_on(stopped: Path, tmp_path: Path) -> None:
    state = read_pickled_tensors(stopped / "last.pt")
    del state["progress"]["people"]
    assert state["progress"].pop("best_recall") == math.inf
    torch.save(state, tmp_path / "last.pt")
    assert trainer(tmp_path, callbacks=[]).fit(resume=True).best_epoch is not None
