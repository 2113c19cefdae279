"""Weights of the best epoch that are gone, and folders in the place of files: said at the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dsct.checkpoint import load_model
from tests.train.training_run import RECIPE, final_state, trainer

LONGER = dataclasses.replace(RECIPE, epochs=3, schedule="step")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    trainer(tmp_path, dataclasses.replace(LONGER, epochs=1), callbacks=[]).fit()
    return tmp_path


def damaged(run_dir: Path, damage: str) -> None:
    path = run_dir / "best.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", ["gone", "damaged"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_lost_weights_are_said_and_written_anew(
    epochs: int, damage: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(run_dir, damage)
    run = trainer(run_dir, dataclasses.replace(LONGER, epochs=epochs), callbacks=[], visible=True)
    result = run.fit(resume=True)
    said = " ".join(capsys.readouterr().out.split())
    which = "last" if epochs == 1 else "next"
    path = run_dir / "best.safetensors"
    assert f"{path} with the weights of the best epoch, 1, is {damage}: those of the {which} epoch take" in said
    assert result.best_epoch == (None if epochs == 1 else 2)
    assert (result.best is None) == (epochs == 1)
    weights, last = load_model(path).state_dict(), final_state(run_dir)["model"]
    assert all(bool((tensor == last[name]).all()) for name, tensor in weights.items())
    trainer(run_dir, dataclasses.replace(LONGER, epochs=epochs), callbacks=[], visible=True).fit(resume=True)
    assert "take their place" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["curves.png", "best.safetensors", "last.pt", "log.csv", "log.jsonl", "config.json"])
def test_a_folder_in_the_place_of_a_file_is_named_before_the_first_step(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    run = trainer(tmp_path, callbacks=[])
    with pytest.raises(IsADirectoryError, match=name):
        run.fit()
    assert not run.progress.step
    assert not (tmp_path / "last.pt").is_file()
