"""``dsct train`` on data that move, change and are exported again; what is given beside ``--resume``; ``--config``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from dsct.cli import app
from dsct.cli.training.field_help import describe_fields
from dsct.config import DSCTConfig
from dsct.data.folders import open_split
from dsct.train import TrainConfig

LABELS = ("calm", "happy", "sad")
IDS = {"calm": 1, "happy": 2, "sad": 3}
EXPORTED_AGAIN = {"sad": 1, "calm": 2, "happy": 3}
TINY = ["--preset", "tiny", "--set", "batch_size=2", "--set", "num_context_queries=6", "--set", "k_spatial=3",
        "--set", "k_semantic=2", "--set", "enc_layers=1", "--device", "cpu", "--log-to", "none"]  # fmt: skip


def run(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


def write(folder: Path, ids: dict[str, int] = IDS, people: int = 1, **sizes: int) -> Path:
    """COCO files with images of 64 x 48, `people` in each, `sizes` images by split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in (sizes or {"train": 4, "val": 3}).items():
        images, annotations = [], []
        for number in range(size):
            name, label = f"{split}{number}.png", LABELS[number % 3]
            image = Image.new("RGB", (64, 48), "lightgrey")
            ImageDraw.Draw(image).rectangle((8, 6, 24, 34), fill=("blue", "gold", "purple")[number % 3])
            image.save(folder / name)
            images.append({"id": number, "file_name": name, "width": 64, "height": 48})
            annotations += [
                {"id": 100 * number + i, "image_id": number, "category_id": ids[label], "bbox": [8 + i, 6, 16, 28]}
                for i in range(people)
            ]
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch with the step schedule, and its data."""
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "data")
    run("train", "coco", "--data", folder / "data", *TINY, "--set", "epochs=1", "--set", "schedule=step", "--run-dir",
        folder / "run")  # fmt: skip
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A copy of it; the run still knows the place of the original data."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def resume(place: Path, *arguments: Any, code: int = 0) -> str:
    return run("train", "coco", "--run-dir", place / "run", "--resume", *arguments, code=code)


def about(place: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((place / "run" / "config.json").read_text())
    return content


def test_a_run_stores_what_its_data_are(finished: Path) -> None:
    data = about(finished)["data"]
    assert (data["name"], data["folder"], data["multi_label"]) == ("coco", str(finished / "data"), False)
    assert data["class_names"] == list(LABELS)
    assert data["images"] == {"train": 4, "val": 3}
    splits = {split: open_split("coco", finished / "data", split).fingerprint for split in ("train", "val")}
    assert data["fingerprints"] == splits


def test_labels_of_another_export_are_numbered_as_the_run_does(place: Path) -> None:
    write(place / "data", EXPORTED_AGAIN)
    assert open_split("coco", place / "data", "train").class_names != LABELS
    output = resume(place, "--data", place / "data", "--set", "epochs=2")
    assert "epoch 2/2" in output
    assert about(place)["data"]["class_names"] == list(LABELS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": 5}, "the run began with other data: train had 4 images, now 5"),
        ({"val": 4}, "val had 3 images, now 4"),
        ({"people": 2, "train": 4}, "the annotations of train have changed, still 4 images"),
    ],
)
def test_other_data_are_refused(change: dict[str, Any], said: str, place: Path) -> None:
    write(place / "data", **change)
    assert said in resume(place, "--data", place / "data", "--set", "epochs=2", code=1)
    assert about(place)["data"]["folder"] != str(place / "data")


def test_moved_data_are_named_once(place: Path) -> None:
    shutil.move(place / "data", place / "moved")
    moved = about(place)
    moved["data"]["folder"] = str(place / "data")
    (place / "run" / "config.json").write_text(json.dumps(moved))
    assert "there is no folder" in resume(place, "--set", "epochs=2", code=1)
    assert "epoch 2/2" in resume(place, "--data", place / "moved", "--set", "epochs=2")
    assert "epoch 3/3" in resume(place, "--set", "epochs=3")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "paper_caer_s"], "--preset paper_caer_s contradicts the run, which began with tiny"),
        (["--multi-label"], "--multi-label contradicts the run, which began without it"),
        (["--labels", "union"], "--labels union contradicts the run, which began without it"),
        (["--annotations", "other.json"], "--annotations other.json contradicts the run, which began without it"),
        (["--val-fraction", "0.5"], "--val-fraction 0.5 contradicts the run, which began without it"),
        (["--fsdp"], "--fsdp contradicts the run, which began without it"),
        (["--weights", "x.safetensors"], "x.safetensors contradicts the run, which began without it"),
        (
            ["--set", "selection=spatial"],
            "--set selection spatial contradicts the run, which began with spatial,semantic",
        ),
        (["--set", "dropout=0.5"], "--set dropout 0.5 contradicts the run, which began with 0.0"),
        (["--set", "lr=0.5"], "lr was 0.001, is 0.5"),
        (["--size", "9"], "--size is for synthetic, not for coco"),
    ],
)
def test_options_that_contradict_the_run_are_errors(options: list[str], said: str, finished: Path) -> None:
    assert said in resume(finished, *options, code=1)


def test_a_folder_that_is_gone_can_be_named_anew(place: Path) -> None:
    known = about(place)
    known["data"]["folder"] = str(place / "gone")
    (place / "run" / "config.json").write_text(json.dumps(known))
    told = resume(place, "--set", "epochs=2", code=1)
    assert f"there is no folder {place / 'gone'}, where the data of the run were: --data names their new place" in told
    resume(place, "--data", place / "data", "--set", "epochs=2")
    assert about(place)["data"]["folder"] == str(place / "data")


def test_the_same_annotation_file_outside_the_folder_is_no_contradiction(tmp_path: Path) -> None:
    images, run_dir = write(tmp_path / "images"), tmp_path / "run"
    file = (images / "train.json").rename(tmp_path / "train.json")
    steps = ["--set", "schedule=step", "--set", "epochs=1", "--val-fraction", "0.3", "--run-dir", run_dir]
    run("train", "coco", "--data", images, "--annotations", file, *TINY, *steps)
    resume(tmp_path, "--data", images, "--annotations", images / ".." / "train.json", "--set", "epochs=2")


def test_another_data_set_contradicts_the_run(finished: Path) -> None:
    output = run("train", "emotic", "--run-dir", finished / "run", "--resume", code=1)
    assert "dataset emotic contradicts the run, which began with coco" in output


def test_what_is_given_again_is_fine_and_a_finished_run_says_so(finished: Path) -> None:
    again = ["--data", finished / "data", *TINY, "--set", "epochs=1", "--set", "schedule=step"]
    output = resume(finished, *again)
    assert "the run is complete: 1 of 1 epochs are done; more epochs go on (--set epochs=N)" in output
    assert "best epoch 1" in output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "5"], "--size 5 contradicts the run, which began with 4"),
        (["--val-size", "5"], "--val-size 5 contradicts the run, which began with 2"),
        (["--image-size", "80x64"], "--image-size 80x64 contradicts the run, which began with 64x48"),
        (["--difficulty", "0.9"], "--difficulty 0.9 contradicts the run, which began with 0.3"),
        (["--multi-label"], "--multi-label contradicts the run"),
        (["--data", "x"], "--data is for data on disk, not for synthetic"),
    ],
)
def test_scenes_that_contradict_the_run_are_errors(
    options: list[str], said: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "scenes"
    scenes = ["--size", "4", "--val-size", "2", "--image-size", "64x48"]
    if not folder.exists():
        run("train", "synthetic", *TINY, *scenes, "--set", "epochs=1", "--run-dir", folder)
    assert said in run("train", "synthetic", "--run-dir", folder, "--resume", *options, code=1)
    assert "complete" in run("train", "synthetic", "--run-dir", folder, "--resume", *scenes)


def test_a_new_run_in_the_folder_of_another_is_told_what_to_do(finished: Path) -> None:
    output = run("train", "coco", "--data", finished / "data", *TINY, "--run-dir", finished / "run", code=1)
    assert "already holds a run: add --resume" in output
    assert "another --run-dir" in output


def test_more_people_than_queries_are_said(tmp_path: Path) -> None:
    data = write(tmp_path / "crowd", people=8)
    said = "16 of 32 people (50.0%) are beyond num_subject_queries=4; the largest image has 8"
    balance = ["--set", "class_weights=inverse", "--set", "repeat_threshold=0.4"]
    queries = ["--set", "num_subject_queries=4", "--set", "epochs=1", "--run-dir", tmp_path / "run"]
    assert said in run("train", "coco", "--data", data, *TINY, *queries, *balance)
    assert json.loads((tmp_path / "run/config.json").read_text())["train"]["class_weights"] == "inverse"
    assert said in run("overfit", "coco", "--data", data, "--steps", 1, "--page", tmp_path / "page.png", code=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_one_sentence_or_skipped(workers: int, tmp_path: Path) -> None:
    data = write(tmp_path / "data")
    (data / "train1.png").write_bytes((data / "train1.png").read_bytes()[:60])
    loading = ["--set", f"workers={workers}", "--set", "epochs=1"]
    stopped = run("train", "coco", "--data", data, *TINY, *loading, "--run-dir", tmp_path / "a", code=1)
    error = stopped.splitlines()[-1]
    assert error.startswith(f"error: {data / 'train1.png'}: the image cannot be read")
    assert "Traceback" not in stopped
    skipped = run(
        "train", "coco", "--data", data, *TINY, *loading, "--set", "on_error=skip", "--run-dir", tmp_path / "b"
    )
    assert f"train: 1 of 4 images cannot be read and is skipped: {data / 'train1.png'}" in skipped
    assert "  1 image skipped" in skipped


@pytest.mark.parametrize("name", ["fields.json", "fields.yaml", "run.json"])
def test_fields_come_from_a_file_and_options_override_them(name: str, finished: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "fields.json":
        path.write_text(json.dumps({"preset": "tiny", "lr": 1e-4, "model": {"enc_layers": 1}, "train": {"epochs": 9}}))
    elif name == "fields.yaml":
        path.write_text("preset: tiny\nlr: 1e-4\nenc_layers: 1\nepochs: 9\nfusion_layers: [0]\n")
    else:
        began = about(finished)
        path.write_text(json.dumps({**began, "train": {**began["train"], "lr": 1e-4, "epochs": 9}}))
    data = [] if name == "run.json" else ["--data", finished / "data"]
    run("train", "coco", *data, "--config", path, "--set", "epochs=1", "--device", "cpu", "--log-to", "none",
        "--run-dir", tmp_path / "run")  # fmt: skip
    saved = about(tmp_path)
    assert (saved["train"]["lr"], saved["train"]["epochs"], saved["model"]["enc_layers"]) == (1e-4, 1, 1)
    assert saved["started_with"]["preset"] == "tiny"
    assert saved["data"]["folder"] == str(finished / "data")
    assert saved["model"]["fusion_layers"] == ([0] if name == "fields.yaml" else None)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "a.json: not JSON"),
        ("a.json", "[1]", "must hold fields and values, got list"),
        ("a.json", '{"epoch": 3}', "a.json: knows no field 'epoch'; did you mean epochs"),
        ("a.json", '{"epochs": "many"}', "a.json: epochs must be an integer, got 'many'"),
        ("a.json", '{"epochs": 1.5}', "a.json: epochs must be an integer, got 1.5"),
        ("a.json", '{"model": 3}', "model must hold fields and values, got int"),
        ("a.json", '{"data": 1, "model": {}}', "data and started_with must be those of a run, got 1"),
        ("a.json", '{"data": {}, "model": {}}', "data and started_with must be those of a run, got {}"),
        ("a.json", '{"data": {"name": "coco"}, "model": {}, "started_with": 3}', "data and started_with must be those"),
        ("a.json", '{"preset": "best"}', "a.json: preset must be one of tiny,"),
        ("a.json", '{"preset": ["tiny"]}', "a.json: preset must be one of tiny,"),
        ("a.json", '{"on_error": 3}', "TrainConfig: on_error must be one of stop, skip, got 3"),
        ("a.json", '{"lr": null}', "TrainConfig: lr must be a number, got None"),
        ("a.yaml", "a: [", "is no YAML file"),
        ("a.yml", "lr: fast", "lr must be a number, got 'fast'"),
    ],
)
def test_files_that_cannot_be_used_are_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert said in run("train", "synthetic", "--config", tmp_path / name, "--run-dir", tmp_path / "run", code=1)
    assert "there is none at" in run("train", "synthetic", "--config", tmp_path / "absent.json", code=1)


def test_yaml_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "a.yaml").write_text("lr: 1")
    assert "pip install 'dsct[yaml]'" in run("train", "synthetic", "--config", tmp_path / "a.yaml", code=1)


def test_help_lists_every_field_with_its_default() -> None:
    output = " ".join(run("train", "--help").split())
    for config in (TrainConfig, DSCTConfig):
        meanings = describe_fields(config)
        for name, default in dataclasses.asdict(config()).items():
            assert f"- {name}=" in output
            assert meanings[name].split()[0] in output
            if isinstance(default, (int, float)) and not isinstance(default, bool):
                assert f"- {name}={default}: " in output


def test_an_unknown_logger_is_named(tmp_path: Path) -> None:
    said = run("train", "synthetic", "--log-to", "comet", "--run-dir", tmp_path, code=1)
    assert "a run can be logged to tensorboard, wandb, mlflow, got 'comet'" in said


def test_the_epoch_line_says_what_chance_would_score(place: Path) -> None:
    assert "(chance 33.3%)  box recall" in resume(place, "--set", "epochs=2")
