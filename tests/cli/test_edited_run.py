"""A ``config.json`` of a run that was edited: one sentence names the file and the field."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsct.cli import app
from tests.train.run_folder.signalled_command import go_on

GONE = object()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    go_on(run_dir, "--set", "epochs=1")
    return run_dir


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("data", {}, "data.name is missing"),
        ("data", None, "data must be an object, got null"),
        ("data/name", "mine", "data.name must be one of"),
        ("data/name", [], "data.name must be one of"),
        ("data/sizes", GONE, "data.sizes is missing"),
        ("data/sizes", {"train": 7}, "data.sizes.val is missing"),
        ("data/sizes/train", 10**30, "data.sizes.train must be a whole number"),
        ("data/options", None, "data.options must be an object"),
        ("data/options/mood", 1, "data.options has an unknown field 'mood'"),
        ("data/options/image_size", [64], "data.options.image_size must be a list of 2"),
        ("data/options/difficulty", "0.3", "data.options.difficulty must be a number"),
        ("data/images", GONE, "data.images is missing"),
        ("data/images", {"train": 7}, "data.images.val is missing"),
        ("data/fingerprints", GONE, "data.fingerprints is missing"),
        ("data/fingerprints", [], "data.fingerprints must be an object"),
        ("data/class_names", GONE, "data.class_names is missing"),
        ("data/class_names", [1], "data.class_names must be a list of text"),
        ("started_with", None, "started_with must be an object, got null"),
        ("started_with/fsdp", "no", "started_with.fsdp must be true or false"),
        ("started_with/weights", 3, "started_with.weights must be text or null"),
        ("train", [], "train must be an object"),
        ("train/mood", 1, "train: TrainConfig: unknown fields ['mood']"),
        ("train/epochs", "two", "train: TrainConfig: epochs must be a number"),
        ("train/epochs", 10**30, "train: TrainConfig: epochs must be at most"),
        ("train/lr", 10**400, "train: TrainConfig: lr must be at most"),
        ("train/activation_checkpointing", 1, "train: TrainConfig: activation_checkpointing must be true or false"),
        ("train/optimizer", [], "train: TrainConfig: optimizer must be one of"),
        ("train/class_weights", None, "train: TrainConfig: class_weights must be one of"),
        ("model", None, "model must be an object"),
        ("model/mood", 1, "model: DSCTConfig: unknown fields ['mood']"),
        ("model/enc_layers", "two", "enc_layers"),
        ("model/enc_layers", 10**30, "enc_layers"),
        ("model/class_names", 3, "class_names"),
    ],
)
def test_an_edited_description_is_one_sentence(
    place: str, value: Any, said: str, finished: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    path = run_dir / "config.json"
    content = json.loads(path.read_text())
    *way, last = place.split("/")
    part = content
    for name in way:
        part = part[name]
    if value is GONE:
        del part[last]
    else:
        part[last] = value
    path.write_text(json.dumps(content))
    output = go_on(run_dir, "--resume", "--set", "epochs=1", code=1)
    assert "Traceback" not in output
    assert f"error: {path}: " in output
    assert said in output
    assert len(output) < 500 + len(str(path))


def test_a_description_for_another_run_is_checked_too(finished: Path, tmp_path: Path) -> None:
    content = json.loads((finished / "config.json").read_text())
    del content["data"]["sizes"]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    arguments = ["train", "synthetic", "--config", str(path), "--run-dir", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 1, repr(result.exception)
    assert f"{path}: data.sizes is missing" in result.output
