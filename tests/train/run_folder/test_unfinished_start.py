"""A start that was killed before its first state begins again; weights in a folder are never replaced."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import dsct
import dsct.train.engine as engine
from dsct.checkpoint import load_model
from tests.train.run_folder.signalled_command import go_on, signalled
from tests.train.training_run import RECIPE, assert_same_run, trainer


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    go_on(run_dir)
    return run_dir


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose training was killed in its first epoch."""
    run_dir = tmp_path_factory.mktemp("killed") / "run"
    code, output = signalled("epoch", run_dir, [signal.SIGKILL])
    assert code == -signal.SIGKILL, output
    assert (run_dir / "config.json").is_file()
    assert not (run_dir / "last.pt").exists()
    return run_dir


@pytest.mark.parametrize("options", [(), ("--resume",)], ids=["start", "resume"])
def test_a_start_that_was_killed_begins_again(
    options: tuple[str, ...], killed: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    (run_dir / ".last.pt.1.partial").write_bytes(b"half")
    (run_dir / "log.jsonl").write_text('{"kind": "step", "step": 1, "loss": 5.0}\n{"kind"')
    said = go_on(run_dir, *options)
    assert "was ended before its first state: it begins again" in said
    assert_same_run(undisturbed, run_dir)
    assert not list(run_dir.glob(".*.partial"))


def test_a_start_that_was_killed_in_its_first_moment_begins_again(undisturbed: Path, tmp_path: Path) -> None:
    go_on(tmp_path, "--resume", code=1)
    assert not list(tmp_path.iterdir()), "where nothing began, nothing begins"
    (tmp_path / ".lock").touch()
    go_on(tmp_path, "--resume")
    assert_same_run(undisturbed, tmp_path)


def test_a_start_from_weights_begins_again_from_them(tmp_path: Path) -> None:
    first, again, weights = tmp_path / "first", tmp_path / "again", tmp_path / "weights.safetensors"
    dsct.save_model(other_model(tmp_path), weights)
    short = ("--set", "epochs=1")
    go_on(first, *short, "--weights", str(weights))
    again.mkdir()
    shutil.copy(first / "config.json", again)
    go_on(again, *short, "--resume")
    assert_same_run(first, again)
    about = json.loads((again / "config.json").read_text())
    assert about["started_with"]["weights"] == str(weights.resolve())


def other_model(folder: Path) -> dsct.DSCT:
    """A model like that of the runs, with other weights."""
    run_dir = folder / "other"
    go_on(run_dir, "--set", "seed=5", "--set", "epochs=1")
    return load_model(run_dir / "best.safetensors")


def test_weights_without_a_state_are_never_replaced(tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="already holds a run"):
        trainer(tmp_path).fit()
    with pytest.raises(FileNotFoundError, match=r"no training state at .*last\.pt, but there is .*best\.safetensors"):
        trainer(tmp_path).fit(resume=True)
    assert weights.read_bytes() == b"mine"


def test_a_log_without_a_state_is_kept(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("epoch,step\r\n1,4\r\n")
    (tmp_path / "log.jsonl").write_text('{"kind": "step", "step": 4}\n')
    trainer(tmp_path, dataclasses.replace(RECIPE, epochs=1)).fit()
    assert (tmp_path / "log.csv.old").read_text().endswith("1,4\n")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 5


def test_a_state_is_there_before_the_first_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(model: Any, path: Path, tensors: Any) -> None:
        assert (tmp_path / "last.pt").is_file()
        seen.append(path.name)

    seen: list[str] = []
    monkeypatch.setattr(engine, "save_model", kept)
    trainer(tmp_path, dataclasses.replace(RECIPE, epochs=1, save_every=0)).fit()
    assert seen == ["best.safetensors"]
