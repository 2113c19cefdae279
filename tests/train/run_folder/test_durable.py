"""What a run writes survives a full disk and a power failure."""

from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dsct
from dsct.checkpoint import load_model
from tests.train.training_run import MODEL, RECIPE, assert_same_run, final_state, trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    trainer(run_dir, callbacks=[]).fit()
    return run_dir


class Filling:
    """A criterion at whose call number `at` no file may grow beyond a size any more, as on a full disk."""

    def __init__(self, at: int, limit: Callable[[], int]) -> None:
        self.criterion = dsct.SetCriterion(MODEL)
        self.at, self.limit, self.calls = at, limit, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit(), resource.RLIM_INFINITY))
        return self.criterion(*arguments, **options)

    def total(self, losses: Any) -> Any:
        return self.criterion.total(losses)


@pytest.fixture
def room_again() -> Iterator[Callable[[], None]]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Calls 1 to 4 and 7 to 10 are steps, 5, 6, 11 and 12 are in validation.
@pytest.mark.parametrize(("at", "name", "step"), [
    (2, "log.jsonl", None), (9, "log.jsonl", 4), (6, "best.safetensors", 4), (6, "last.pt", 4),
])  # fmt: skip
def test_a_full_disk_is_named_and_the_run_goes_on_exactly(
    at: int, name: str, step: int | None, finished: Path, tmp_path: Path, room_again: Callable[[], None]
) -> None:
    def limit() -> int:
        if name.startswith("log"):
            return (tmp_path / name).stat().st_size + 40
        return 10_000 if name == "best.safetensors" else 2 * (finished / "best.safetensors").stat().st_size

    with pytest.raises(OSError, match="File too large") as caught:
        trainer(tmp_path, RECIPE, Filling(at, limit), callbacks=[]).fit()
    room_again()
    assert str(caught.value).endswith(f"{name}'")
    assert not list(tmp_path.glob(".*partial"))
    if step is None:
        assert not (tmp_path / "last.pt").exists()
    else:
        assert final_state(tmp_path)["progress"]["step"] == step
    trainer(tmp_path, callbacks=[]).fit(resume=True)
    assert_same_run(finished, tmp_path)
    best = [load_model(run / "best.safetensors").state_dict() for run in (finished, tmp_path)]
    assert all(torch.equal(best[0][key], tensor) for key, tensor in best[1].items())


def test_content_and_name_reach_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle: int) -> None:
        events.append(("flush", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def replaced(source: Any, target: Any) -> None:
        events.append(("replace", f"{source} {target}"))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    trainer(tmp_path, dataclasses.replace(RECIPE, epochs=1), callbacks=[]).fit()
    for name in ("config.json", "last.pt", "best.safetensors"):
        renames = [number for number, (kind, what) in enumerate(events) if kind == "replace" and what.endswith(name)]
        assert renames, name
        for number in renames:
            source = events[number][1].split()[0]
            assert events[number - 1] == ("flush", source), f"the content of {name}, before it gets its name"
            assert events[number + 1] == ("flush", str(tmp_path)), f"the name of {name}"
    last = max(number for number, (_, what) in enumerate(events) if what.endswith(str(tmp_path / "last.pt")))
    for name in ("log.csv", "log.jsonl"):
        assert ("flush", str(tmp_path / name)) in events[last - 4 : last], "the log is never behind the state"
