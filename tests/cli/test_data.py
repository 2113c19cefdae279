"""Commands on data sets on disk: train, resume, overfit, check; one process and two."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dsct
import dsct.train.overfit as overfit_module
from dsct.cli import app
from dsct.config import EMOTIC_CLASSES
from dsct.data.synthetic import SyntheticDataset
from tests.data import dataset_files as files
from tests.train.processes.two_processes import launch

SMALL = [
    "--preset", "tiny", "--set", "num_context_queries=6", "--set", "k_spatial=3", "--set", "k_semantic=2", "--set",
    "enc_layers=1", "--set", "dim_feedforward=32", "--set", "epochs=1", "--set", "batch_size=2",
]  # fmt: skip


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def emotic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("emotic")
    for split, size in (("train", 5), ("val", 2), ("test", 2)):
        scenes = SyntheticDataset(split, size, image_size=(96, 64), multi_label=True)
        files.write_emotic_json(
            root / f"emotic_{split}_bi.json", files.save_scenes(scenes, root, files.emotic_name(split))
        )
    return root


def test_train_on_emotic_and_resume(emotic: Path, tmp_path: Path) -> None:
    output = run("train", "emotic", "--data", emotic, "--run-dir", tmp_path, *SMALL, "--device", "cpu")
    assert "train: 5 images, emotic_train_bi.json" in output
    assert "starting from random weights" in output
    model = dsct.load_model(tmp_path / "best.safetensors")
    assert (model.config.multi_label, model.config.names) == (True, EMOTIC_CLASSES)
    assert model.preprocess == {"short_side": None, "long_side": 1333}
    about = json.loads((tmp_path / "config.json").read_text())["data"]
    assert (about["name"], about["folder"]) == ("emotic", str(emotic))
    assert "best epoch 1" in run("train", "emotic", "--run-dir", tmp_path, "--resume", "--device", "cpu")


def test_the_papers_preset_is_the_default(emotic: Path, tmp_path: Path) -> None:
    message = run("train", "emotic", "--data", emotic, "--run-dir", tmp_path, "--set", "epochs=0", code=1)
    assert "TrainConfig: epochs must be at least 1, got 0" in message
    output = run(
        "train", "emotic", "--data", emotic, "--run-dir", tmp_path, *SMALL[2:], "--set", "backbone=tiny", "--set",
        "hidden_dim=64", "--set", "nheads=4", "--set", "short_side=64", "--set", "long_side=96", "--set", "workers=0",
    )  # fmt: skip
    assert "best epoch 1" in output
    about = json.loads((tmp_path / "config.json").read_text())
    assert (about["train"]["augmentation"], about["train"]["schedule"], about["train"]["lr"]) == (
        "multi_scale",
        "step",
        2e-4,
    )
    assert (about["model"]["num_subject_queries"], about["model"]["dec_layers"]) == (4, 6)


def test_missing_data_is_named(tmp_path: Path) -> None:
    assert "--data must name the folder of caer-s" in run("train", "caer-s", "--run-dir", tmp_path / "run", code=1)
    message = run("train", "caer-s", "--data", tmp_path, "--run-dir", tmp_path / "run", code=1)
    assert "looked for" in message
    assert "train.txt" in message


def test_overfit_learns_images_on_disk(emotic: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    output = run(
        "overfit", "emotic", "--data", emotic, "--images", 2, "--short-side", 64, "--page", page, "--device", "cpu"
    )
    assert "learnt: box recall" in output
    assert page.read_bytes().startswith(b"\x89PNG")
    failed = run(
        "overfit", "emotic", "--data", emotic, "--images", 2, "--short-side", 64, "--page", page, "--steps", 1, code=1
    )
    assert "not learnt" in failed
    assert "people were learnt" not in failed


def test_overfit_says_how_many_people_of_a_crowd_were_learnt(
    emotic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overfit_module, "MOST_PEOPLE", 1)
    page = tmp_path / "page.png"
    output = run("overfit", "emotic", "--data", emotic, "--short-side", 64, "--page", page, "--steps", 1, code=1)
    assert re.search(r"note: \d+ of \d+ people were learnt, the first 1 of an image", output)


def test_check_finds_what_was_planted(emotic: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert "error" not in run("data", "check", emotic, "--json", report)
    assert report.is_file()
    scenes = SyntheticDataset("train", 3, image_size=(96, 64), multi_label=True)
    files.write_emotic_json(
        tmp_path / "emotic_train_bi.json", files.save_scenes(scenes, tmp_path, files.emotic_name("train"))
    )
    broken = next((tmp_path / "mscoco").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:100])
    assert "broken image" in run("data", "check", tmp_path, "--name", "emotic", code=1)


@pytest.mark.slow
def test_torchrun_trains_in_two_processes(emotic: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from dsct.cli import app\napp()\n")
    output = launch(
        str(program), "train", "emotic", "--data", emotic, "--run-dir", tmp_path / "run", *SMALL, "--device", "cpu"
    )
    assert output.count("best epoch 1") == 1
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "3"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["processes"] == 2
