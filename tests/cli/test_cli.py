"""Every command of the command line, run on the embedded data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import dsct
from dsct.checkpoint import sizes_of
from dsct.cli import app
from dsct.cli.settings import parse_settings
from dsct.config import DSCTConfig
from dsct.train import TrainConfig

SMALL = [
    "--set", "num_context_queries=6", "--set", "k_spatial=3", "--set", "k_semantic=2", "--set", "enc_layers=1",
    "--set", "dim_feedforward=32",
]  # fmt: skip
DATA = ["--image-size", "64x48", "--size", "4"]
TRAIN = ["train", "synthetic", *SMALL, *DATA, "--val-size", "2", "--set", "batch_size=2", "--set", "epochs=1"]


def run(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    output = run(*TRAIN, "--run-dir", folder, "--device", "cpu")
    assert "best epoch 1" in output
    return folder


def test_help_lists_every_command() -> None:
    output = run("--help")
    assert all(f" {name} " in output for name in ("train", "eval", "predict", "convert", "info"))
    for name in ("train", "eval", "predict", "convert", "info"):
        assert "Usage:" in run(name, "--help")


def test_train_writes_the_run(run_dir: Path) -> None:
    about = json.loads((run_dir / "config.json").read_text())
    assert (about["model"]["num_context_queries"], about["train"]["epochs"]) == (6, 1)
    assert about["data"]["options"]["image_size"] == [64, 48]
    model = dsct.load_model(run_dir / "best.safetensors")
    assert model.config.dim_feedforward == 32
    assert model.preprocess == {"short_side": 48, "long_side": 1333}


def test_train_refuses_to_overwrite_and_resumes(run_dir: Path) -> None:
    assert "already holds a run" in run(*TRAIN, "--run-dir", run_dir, code=1)
    assert "best epoch 1" in run("train", "synthetic", "--run-dir", run_dir, "--resume", "--set", "log_every=7")
    assert "epochs was 1, is 2" in run(
        "train", "synthetic", "--run-dir", run_dir, "--resume", "--set", "epochs=2", code=1
    )
    assert "leave out --weights" in run(
        "train", "synthetic", "--run-dir", run_dir, "--resume", "--set", "dropout=0.5", code=1
    )
    assert "no run to resume" in run("train", "synthetic", "--run-dir", run_dir / "absent", "--resume", code=1)


def test_train_starts_from_weights(run_dir: Path, tmp_path: Path) -> None:
    output = run(*TRAIN, "--run-dir", tmp_path / "run", "--weights", run_dir / "best.safetensors", "--multi-label")
    assert "class_embed_dsct.0.weight" in output
    assert "2 reshaped, 0 skipped, 0 missing" in output
    assert "copied Anger, Fear, Surprise; left as they were Affection, " in output
    assert dsct.load_model(tmp_path / "run" / "best.safetensors").config.num_classes == 26


def test_eval_prints_every_protocol(run_dir: Path, tmp_path: Path) -> None:
    weights = run_dir / "best.safetensors"
    output = run("eval", "synthetic", "--weights", weights, *DATA, "--json", tmp_path / "numbers.json")
    assert "labels: synthetic test, 64x48, difficulty 0.3" in output
    assert "confusion matrix, official protocol" in output
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert list(numbers["protocols"]) == ["official", "paper", "detection"]
    assert all(name in output for name in numbers["protocols"])
    assert numbers["images"] == 4
    value = numbers["protocols"]["official"]["accuracy"]
    assert f" {100 * value:.1f} " in output.replace("│", " ")
    low, high = numbers["protocols"]["official"]["interval"]
    assert low <= value <= high
    assert numbers["throughput"]["images"] == 4
    confusion = np.array(numbers["protocols"]["official"]["confusion"])
    assert confusion.sum() == numbers["people"]
    assert confusion.trace() / confusion.sum() == pytest.approx(value)


def test_eval_writes_a_report(run_dir: Path, tmp_path: Path) -> None:
    weights = run_dir / "best.safetensors"
    run("eval", "synthetic", "--weights", weights, *DATA, "--resamples", 20, "--out", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "evaluation.json", "evaluation.md", "people.csv", "classes.png", "people_per_image.png", "confusion.png",
        "precision_recall.png", "calibration.png", "examples.png", "worst_images.png",
    }  # fmt: skip
    report = (tmp_path / "evaluation.md").read_text()
    numbers = json.loads((tmp_path / "evaluation.json").read_text())
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == numbers["weights_sha256"]
    assert numbers["weights_sha256"] in report
    assert "labels: synthetic test" in report.lower()
    assert all(f"- **{name}**: " in report for name in ("official", "paper", "detection"))
    assert numbers["bootstrap"]["resamples"] == 20
    images = {path.name for path in tmp_path.glob("*.png")}
    assert {line.split("(")[1].rstrip(")") for line in report.splitlines() if line.startswith("![")} == images
    official = numbers["protocols"]["official"]
    precisions = [value for value in official["average_precision"].values() if value is not None]
    assert sum(precisions) / len(precisions) == pytest.approx(official["mAP"])


def test_thresholds_are_fitted_on_validation_data_and_kept_with_the_weights(tmp_path: Path) -> None:
    run(*TRAIN, "--multi-label", "--run-dir", tmp_path / "run")
    weights, fitted = tmp_path / "run" / "best.safetensors", tmp_path / "fitted.safetensors"
    fit = ["eval", "synthetic", "--weights", weights, *DATA, "--fit-thresholds", fitted]
    assert "needs --split val" in run(*fit, code=1)
    output = run(*fit, "--split", "val", "--resamples", 0)
    assert "threshold" in output
    assert "precision" in output
    model = dsct.load_model(fitted)
    assert model.thresholds is not None
    assert len(model.thresholds) == 26
    assert dsct.load_model(weights).thresholds is None
    again = run("eval", "synthetic", "--weights", fitted, *DATA, "--json", tmp_path / "numbers.json", "--resamples", 0)
    assert "threshold" in again
    at = json.loads((tmp_path / "numbers.json").read_text())["protocols"]["official"]["at_thresholds"]
    assert list(at["thresholds"].values()) == pytest.approx(model.thresholds)


def test_predict_prints_and_draws(run_dir: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((48, 64, 3), 99, np.uint8)).save(photo)
    weights = ["--weights", run_dir / "best.safetensors"]
    assert "photo.png (64 x 48)" in run("predict", photo, *weights)
    (found,) = json.loads(run("predict", photo, *weights, "--json", "--plot-dir", tmp_path / "plots"))
    assert (found["width"], found["height"]) == (64, 48)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["001_photo.png"]


def test_convert_keeps_a_native_model(run_dir: Path, tmp_path: Path) -> None:
    run("convert", run_dir / "last.pt", tmp_path / "model.safetensors")
    converted = dsct.load_model(tmp_path / "model.safetensors")
    assert converted.preprocess == {"short_side": 48, "long_side": 1333}
    saved = dsct.load_model(run_dir / "last.pt").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in converted.state_dict().items())


@pytest.mark.parametrize(("setting", "kept"), [("dropout=0.25", True), ("num_classes=5", False)])
def test_convert_keeps_thresholds_of_the_same_classes(setting: str, kept: bool, tmp_path: Path) -> None:
    model = dsct.DSCT(DSCTConfig.tiny())
    model.thresholds = [0.1 * index for index in range(7)]
    dsct.save_model(model, tmp_path / "a.safetensors")
    run("convert", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--set", setting)
    assert dsct.load_model(tmp_path / "b.safetensors").thresholds == (model.thresholds if kept else None)


def test_convert_reads_sizes_from_the_tensors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DSCTConfig.tiny(num_context_queries=5, num_subject_queries=3, enc_layers=1, dec_layers=3, hidden_dim=32,
                             k_spatial=2, k_semantic=2)  # fmt: skip
    state = dsct.DSCT(config).state_dict()
    assert sizes_of(state) == {
        "num_feature_levels": 4, "hidden_dim": 32, "num_context_queries": 5, "num_subject_queries": 3,
        "dim_feedforward": 128, "enc_layers": 1, "dec_layers": 3, "backbone": "tiny",
    }  # fmt: skip
    torch.save({"model": state, "epoch": 1}, tmp_path / "released.pth")
    target = tmp_path / "model.safetensors"
    output = run("convert", tmp_path / "released.pth", target, "--preset", "tiny", "--set", "selection=spatial")
    assert "0 skipped, 0 missing" in output
    converted = dsct.load_model(target)
    assert (converted.config.dec_layers, converted.config.selection) == (3, ("spatial",))
    assert all(torch.equal(tensor, state[name]) for name, tensor in converted.state_dict().items())


def test_convert_there_and_back_is_equal_to_the_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = dsct.DSCT(DSCTConfig.tiny(num_context_queries=5, k_spatial=2, k_semantic=2)).state_dict()
    first, native, last = (tmp_path / name for name in ("first.pth", "model.safetensors", "last.pth"))
    torch.save({"model": state, "epoch": 1}, first)
    run("convert", first, native, "--preset", "tiny", "--set", "k_spatial=2", "--set", "k_semantic=2")
    assert "0 renamed, 0 reshaped, 0 skipped, 0 missing" in run("convert", native, last)
    found = torch.load(last, weights_only=False)["model"]
    assert list(found) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def test_convert_to_other_classes_keeps_the_rows_of_known_names(run_dir: Path, tmp_path: Path) -> None:
    changes = ["--set", "num_classes=2", "--set", "class_names=Sad,bored"]
    output = run("convert", run_dir / "best.safetensors", tmp_path / "model.safetensors", *changes)
    assert "copied Sad; left as they were bored" in output
    before, after = dsct.load_model(run_dir / "best.safetensors"), dsct.load_model(tmp_path / "model.safetensors")
    row = before.config.names.index("Sad")
    assert after.config.names == ("Sad", "bored")
    assert torch.equal(after.class_embed_dsct[0].weight[0], before.class_embed_dsct[0].weight[row])


def test_convert_asks_for_the_preset_and_refuses_code(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (tmp_path / "harm").mkdir, ()

    torch.save({"model": {"transformer.level_embed": torch.ones(4, 8)}}, tmp_path / "detr.pth")
    assert "--preset is needed" in run("convert", tmp_path / "detr.pth", tmp_path / "out.safetensors", code=1)
    torch.save({"model": {}, "args": Harm()}, tmp_path / "harmful.pth")
    assert "no readable PyTorch file" in run("convert", tmp_path / "harmful.pth", tmp_path / "out.pth", code=1)
    assert {path.name for path in tmp_path.iterdir()} == {"detr.pth", "harmful.pth"}


def test_info(run_dir: Path) -> None:
    assert torch.__version__ in run("info")
    output = run("info", run_dir / "best.safetensors")
    assert "num_context_queries" in output
    assert "dsct_preprocess" in output
    torch.save({"weight": torch.ones(3, 4)}, run_dir / "foreign.pth")
    assert "1 with 12 numbers" in run("info", run_dir / "foreign.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "synthetic", "--set", "lr"], "--set must be key=value"),
        (["train", "synthetic", "--set", "k_spatail=3"], "did you mean k_spatial"),
        (["train", "synthetic", "--image-size", "64"], "WIDTHxHEIGHT"),
        (["train", "synthetic", "--device", "tpu9"], "--device must be a device"),
        (["eval", "synthetic", "--weights", "absent.safetensors"], "no weights file at absent.safetensors"),
        (["convert", "absent.pth", "out.safetensors"], "no weights file at absent.pth"),
        (["convert", "absent.pth", "out.bin"], "must end in .safetensors or .pth"),
        (["convert", "absent.pth", "out.safetensors", "--set", "lr=1"], "fields of the model"),
    ],
)
def test_errors_are_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(*arguments, code=1)
    assert message in output
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("lr=1e-3", {"lr": 1e-3}),
        ("epochs=7", {"epochs": 7}),
        ("clip=0", {"clip": 0.0}),
        ("schedule=cosine", {"schedule": "cosine"}),
        ("multi_label=true", {"multi_label": True}),
        ("fusion_layers=none", {"fusion_layers": None}),
        ("fusion_layers=5", {"fusion_layers": (5,)}),
        ("fusion_layers=(0, 5)", {"fusion_layers": (0, 5)}),
        ("selection=", {"selection": ()}),
        ("selection=()", {"selection": ()}),
        ("selection=spatial,semantic", {"selection": ("spatial", "semantic")}),
        ("class_names=happy, sad", {"class_names": ("happy", "sad")}),
    ],
)
def test_settings_have_the_type_of_their_field(setting: str, expected: dict[str, Any]) -> None:
    parsed = parse_settings([setting])
    values = parsed.model | parsed.train
    assert values == expected
    assert [type(value) for value in values.values()] == [type(value) for value in expected.values()]
    assert set(parsed.train) <= set(vars(TrainConfig()))


@pytest.mark.parametrize(
    "setting",
    [
        "epochs=1.5",
        "epochs=many",
        "lr=fast",
        "lr=nan",
        "clip=inf",
        "multi_label=1",
        "fusion_layers=a",
        "lr=",
        "epochs=True",
    ],
)
def test_settings_of_another_type_are_named(setting: str) -> None:
    with pytest.raises(ValueError, match=f"--set {setting.split('=')[0]} must be a"):
        parse_settings([setting])
