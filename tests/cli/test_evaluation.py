"""``dsct eval`` on every data set and form: what it reads, what it says, and what it writes."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES, DSCTConfig
from dsct.data.records import Annotations
from dsct.data.synthetic import SyntheticDataset
from tests.data.dataset_files import (
    caer_s_name,
    emotic_name,
    save_scenes,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_emotic_json,
    write_json,
    write_mat,
)

SIZES = ((64, 48), (96, 48), (64, 64))
SMALL = {"num_context_queries": 6, "k_spatial": 3, "k_semantic": 2, "enc_layers": 1, "dim_feedforward": 32}


def run(*arguments: Any, code: int = 0, columns: int = 200) -> str:
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, ["eval", *words, "--device", "cpu"], env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


def save_model(path: Path, names: tuple[str, ...] = (), multi_label: bool = False, **changes: Any) -> Path:
    """Random weights for the classes `names`, by default EMOTIC's 26."""
    torch.manual_seed(0)
    multi_label = multi_label or not names
    config = DSCTConfig.tiny(
        num_classes=len(names) or 26, class_names=names or None, multi_label=multi_label, **{**SMALL, **changes}
    )
    model = dsct.DSCT(config)
    model.preprocess = {"short_side": None, "long_side": 1333}
    path.parent.mkdir(parents=True, exist_ok=True)
    dsct.save_model(model, path)
    return path


def save_people(
    folder: Path, split: str, multi_label: bool, name_of: Callable[[int, Annotations], str] | None = None
) -> list[Annotations]:
    """Twelve scenes of three sizes."""
    records = []
    for number, size in enumerate(SIZES):
        scenes = SyntheticDataset(split, 4, multi_label=multi_label, image_size=size, seed=number)
        name = name_of or (lambda index, _: f"{split}_{index:02d}.png")
        records += save_scenes(scenes, folder, lambda index, one, n=number, name=name: name(100 * n + index, one))
    return records


def write_emotic(form: str, folder: Path, split: str, records: list[Annotations]) -> None:
    if form == "json":
        write_emotic_json(folder / f"emotic_{split}_bi.json", records)
    elif form == "csv":
        write_emotic_csv(folder / f"{split}.csv", records)
    else:
        write_mat(folder / "Annotations.mat", {"train": records[:1], "val": records, "test": records})


@pytest.mark.parametrize("form", ["json", "csv", "mat"])
def test_emotic_in_every_form_and_its_thresholds(form: str, tmp_path: Path) -> None:
    folder, weights = tmp_path / "data", save_model(tmp_path / "m.safetensors")
    for split in ("val", "test"):
        write_emotic(form, folder, split, save_people(folder, split, True, emotic_name(split)))
    fitted = tmp_path / "fitted.safetensors"
    given = ["emotic", "--data", folder, "--resamples", 0]
    output = run(*given, "--weights", weights, "--split", "val", "--fit-thresholds", fitted)
    assert "thresholds, break-even, written with the weights" in output
    output = run(*given, "--weights", fitted, "--json", tmp_path / "numbers.json")
    assert "labels at thresholds, official protocol" in output
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["images"], numbers["data"]["split"], numbers["multi_label"]) == (12, "test", True)
    assert len(numbers["protocols"]["official"]["at_thresholds"]["thresholds"]) == 26


@pytest.mark.parametrize("form", ["txt", "json"])
def test_caer_s_in_both_forms(form: str, tmp_path: Path) -> None:
    folder, weights = tmp_path / "data", save_model(tmp_path / "m.safetensors", CAER_S_CLASSES)
    one = [record for record in save_people(folder, "test", False, caer_s_name("test"))
           if record.image_path is not None and "several" not in record.image_path.parts]  # fmt: skip
    if form == "txt":
        write_caer_s_text(folder / "test.txt", one)
    else:
        write_coco_json(folder / "caer_test.json", one, CAER_S_CLASSES)
    run("caer-s", "--data", folder, "--weights", weights, "--json", tmp_path / "numbers.json", "--resamples", 2)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["images"] == len(one) > 0
    people = list(numbers["protocols"]["official"]["support"].values())
    assert numbers["protocols"]["official"]["chance"] == pytest.approx(max(people) / sum(people))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_own_data_are_numbered_by_the_names_of_the_model(form: str, multi_label: bool, tmp_path: Path) -> None:
    """The data know fewer classes, in another order; the scores are those of data with the model's order."""
    names, renamed = ("calm", "happy", "sad", "tense"), ("sad", "calm")
    weights = save_model(tmp_path / "m.safetensors", names, multi_label)
    numbers = {}
    for place, order in (("model", names), ("own", renamed)):
        folder = tmp_path / place
        records = save_people(folder, "test", False)
        shown = [names.index(renamed[int(label) % 2]) for record in records for label in record.labels]
        given = iter([order.index(names[number]) for number in shown])
        records = [
            Annotations(one.image_path, one.boxes, _labels(given, len(one), len(order), multi_label), one.size)
            for one in records
        ]
        write = {"csv": lambda p, r, o: write_csv(p.with_suffix(".csv"), r, o), "json": write_coco_json}[form]
        write(folder / "test.json", records, order)
        run("coco", "--data", folder, "--weights", weights, "--json", tmp_path / f"{place}.json", "--resamples", 0)
        numbers[place] = json.loads((tmp_path / f"{place}.json").read_text())
    assert numbers["own"]["protocols"] == numbers["model"]["protocols"]
    assert numbers["own"]["class_names"] == list(names)
    assert numbers["own"]["protocols"]["official"]["support"]["sad"] > 0


def _labels(given: Any, people: int, classes: int, multi_label: bool) -> np.ndarray[Any, Any]:
    chosen = np.array([next(given) for _ in range(people)], dtype=np.int64)
    return np.eye(classes, dtype=np.int64)[chosen] if multi_label else chosen


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_class_that_the_model_does_not_know_is_named(form: str, tmp_path: Path) -> None:
    weights = save_model(tmp_path / "m.safetensors", ("calm", "happy"))
    records = save_people(tmp_path, "test", False)
    names = ("calm", "happy", "sad", "tense", "proud", "shy", "bored")
    if form == "csv":
        write_csv(tmp_path / "test.csv", records, names)
    else:
        write_coco_json(tmp_path / "test.json", records, names)
    output = run("coco", "--data", tmp_path, "--weights", weights, code=1)
    assert any(f"'{name}'" in output or f" {name} " in output for name in names[2:])
    assert "calm, happy" in output


def test_models_of_other_classes_and_kinds_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_emotic_json(folder / "emotic_test_bi.json", save_people(folder, "test", True, emotic_name("test")))
    given = ["emotic", "--data", folder, "--weights"]
    assert "is a model of one class per person, emotic has several" in run(
        *given, save_model(tmp_path / "one.safetensors", CAER_S_CLASSES), code=1
    )
    output = run(*given, save_model(tmp_path / "other.safetensors", ("Anger", "Fear"), True), code=1)
    assert any(name in output for name in EMOTIC_CLASSES if name not in ("Anger", "Fear"))
    assert "Anger, Fear" in output
    output = run("synthetic", "--size", 2, "--weights", save_model(tmp_path / "w.safetensors", ("Anger", "x")), code=1)
    assert "does not know Disgust, Fear, Happy, Neutral, Sad, Surprise of synthetic, only Anger, x" in output


def test_every_table_is_whole_in_80_columns(tmp_path: Path) -> None:
    weights = save_model(tmp_path / "m.safetensors")
    model = dsct.load_model(weights)
    model.thresholds = [0.25] * 26
    dsct.save_model(model, weights)
    output = run("synthetic", "--weights", weights, "--size", 6, "--image-size", "64x48", "--resamples", 9, columns=80)
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in output
    for name in model.config.names:
        assert sum(line.startswith(f"│ {name} ") or line.startswith(f"│ {name}│") for line in lines) == 2
    assert all(word in output for word in ("95 %┃", "interval┃", "threshold┃", "chance"))


@pytest.mark.parametrize("classes", [7, 30])
def test_a_confusion_matrix_is_whole_or_said_to_be_elsewhere(classes: int, tmp_path: Path) -> None:
    names = tuple(f"emotion number {number}" for number in range(classes))
    weights = save_model(tmp_path / "m.safetensors", names)
    write_csv(tmp_path / "test.csv", save_people(tmp_path, "test", False), names)
    output = run("coco", "--data", tmp_path, "--weights", weights, "--resamples", 0, columns=80)
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output
    assert ("7 emotion number" in output) == (classes == 7)
    assert ("30 columns are too many here" in output) == (classes == 30)


def test_a_report_states_what_the_score_depends_on(tmp_path: Path) -> None:
    folder, weights = tmp_path / "data", save_model(tmp_path / "m.safetensors", CAER_S_CLASSES)
    records = save_people(folder, "test", False)
    content = json.loads(write_coco_json(folder / "test.json", records, CAER_S_CLASSES).read_text())
    content["images"].append({"id": 99, "file_name": "gone.png", "width": 64, "height": 48})
    content["annotations"][0]["bbox"][0] -= 30
    content["annotations"][0]["bbox"][2] += 30
    write_json(folder / "test.json", content)
    out = tmp_path / "report"
    output = run("coco", "--data", folder, "--weights", weights, "--batch-size", 3, "--resamples", 5, "--out", out)
    said, numbers = (out / "evaluation.md").read_text(), json.loads((out / "evaluation.json").read_text())
    data = numbers["data"]
    assert (data["name"], data["split"], data["folder"]) == ("coco", "test", str(folder))
    assert data["left_out"] == {"missing image": 1}
    assert data["mended"] == {"box clipped": 1}
    assert numbers["class_names"] == list(CAER_S_CLASSES)
    assert numbers["batches"]["size"] == 3
    assert set(numbers["versions"]) == {"dsct", "torch", "numpy", "python"}
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    facts = [digest, data["fingerprint"], str(folder), "test.json", "1 x missing image", "1 x box clipped"]
    facts += ["none is padded", "chance", torch.__version__, *CAER_S_CLASSES, *numbers["protocol_definitions"].values()]
    for fact in facts:
        assert fact in said, fact
    assert numbers["weights_sha256"] == digest
    assert "the weights are in no folder of a run" in said
    chance = numbers["protocols"]["official"]["chance"]
    assert re.search(rf"│ chance +│ +{100 * chance:.1f}│", output)
    assert f"| chance | {chance:.2%} |" in said


def test_the_table_of_people_gives_the_scores_again(tmp_path: Path) -> None:
    folder, weights = tmp_path / "data", save_model(tmp_path / "m.safetensors", CAER_S_CLASSES)
    write_csv(folder / "test.csv", save_people(folder, "test", False), CAER_S_CLASSES)
    given = ["coco", "--data", folder, "--weights", weights, "--resamples", 0, "--json", tmp_path / "numbers.json"]
    run(*given, "--people", tmp_path / "people.parquet")
    official = json.loads((tmp_path / "numbers.json").read_text())["protocols"]["official"]
    frame = pandas.read_parquet(tmp_path / "people.parquet")
    assert (frame.true_labels == frame.predicted_labels).mean() == pytest.approx(official["accuracy"])
    assert frame.true_labels.value_counts(normalize=True).iloc[0] == pytest.approx(official["chance"])
    output = run(*given, "--people", tmp_path / "people.csv", "--people-protocol", "detection")
    assert "people, detection protocol" in output
    with (tmp_path / "people.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(frame)
    assert all(row["iou"] == "" or float(row["iou"]) >= 0.5 for row in rows)
    assert "ends in .csv or .parquet" in run(*given, "--people", tmp_path / "people.xlsx", code=1)


def test_the_run_of_the_weights_is_compared_with_the_data(tmp_path: Path) -> None:
    weights = save_model(tmp_path / "run/best.safetensors", CAER_S_CLASSES)
    for split in ("train", "val", "test"):
        write_csv(tmp_path / f"{split}.csv", save_people(tmp_path, split, False), CAER_S_CLASSES)
    opened = {split: dsct.data.open_split("coco", tmp_path, split, class_names=CAER_S_CLASSES)
              for split in ("train", "val")}  # fmt: skip
    about = {
        "name": "coco",
        "folder": "elsewhere",
        "fingerprints": {name: one.fingerprint for name, one in opened.items()},
    }
    write_json(tmp_path / "run/config.json", {"data": about})
    given = ["coco", "--data", tmp_path, "--weights", weights.parent, "--resamples", 0]
    expected = {
        "train": "these are the training data of the run run: the score says nothing about other images",
        "val": "these are the validation data of the run run: its best epoch was chosen by them",
        "test": "these are neither the training data nor the validation data of the run run",
    }
    for split, sentence in expected.items():
        output = run(*given, "--split", split, "--json", tmp_path / "numbers.json")
        assert sentence in output
        assert json.loads((tmp_path / "numbers.json").read_text())["run"] == sentence
    del about["fingerprints"]
    write_json(tmp_path / "run/config.json", {"data": about})
    assert "not known: it has no fingerprints" in run(*given)
    (tmp_path / "run/config.json").write_text("[1, 2")
    assert "the run" not in run(*given)


def test_scenes_of_a_run_are_known_by_their_parameters(tmp_path: Path) -> None:
    weights = save_model(tmp_path / "run/best.safetensors", CAER_S_CLASSES)
    options = {"multi_label": False, "image_size": [64, 48], "difficulty": 0.3}
    about = {"name": "synthetic", "sizes": {"train": 9, "val": 3}, "options": options}
    write_json(tmp_path / "run/config.json", {"data": about})
    given = ["synthetic", "--weights", weights.parent, "--size", 2, "--resamples", 0]
    assert "training data" in run(*given, "--image-size", "64x48", "--split", "train")
    assert "are neither" in run(*given, "--image-size", "64x48", "--split", "test")
    assert "are neither" in run(*given, "--image-size", "96x48", "--split", "train")
    assert "there is no best.safetensors in" in run("synthetic", "--weights", tmp_path, code=1)


def test_a_broken_image_stops_or_is_counted_by_name(tmp_path: Path) -> None:
    weights = save_model(tmp_path / "m.safetensors", CAER_S_CLASSES)
    write_csv(tmp_path / "test.csv", save_people(tmp_path, "test", False), CAER_S_CLASSES)
    broken = tmp_path / "test_02.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    given = ["coco", "--data", tmp_path, "--weights", weights, "--resamples", 0, "--out", tmp_path / "report"]
    output = run(*given, code=1)
    assert "test_02.png: the image cannot be read" in output
    output = run(*given, "--on-error", "skip")
    assert "left out: 1 of 12 images cannot be read: " in output
    assert "test_02.png" in output
    numbers = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert numbers["images"] == 11
    assert "test_02.png" in numbers["data"]["unreadable"][0]
    assert "test_02.png" in (tmp_path / "report/evaluation.md").read_text()


@pytest.mark.parametrize("multi_label", [False, True])
def test_images_without_people_are_no_error(multi_label: bool, tmp_path: Path) -> None:
    weights = save_model(tmp_path / "m.safetensors", ("calm", "happy"), multi_label)
    nobody = [
        Annotations(one.image_path, np.zeros((0, 4)), np.zeros((0, 2) if multi_label else 0), one.size)
        for one in save_people(tmp_path, "test", False)
    ]
    write_csv(tmp_path / "test.csv", nobody, ())
    given = ["coco", "--data", tmp_path, "--weights", weights, "--resamples", 3, "--out", tmp_path / "report"]
    output = run(*given, "--people", tmp_path / "people.parquet", columns=80)
    assert "0 people in 12 images" in output
    assert "nan" not in output
    numbers = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert (numbers["people"], numbers["protocols"]["official"]["chance"]) == (0, None)
    assert "nan" not in (tmp_path / "report/evaluation.md").read_text()
    assert len(pandas.read_parquet(tmp_path / "people.parquet")) == 0


def test_a_class_name_is_no_markup(tmp_path: Path) -> None:
    names = ("[bold]", "[red]calm", ":smile:", "a|b")
    weights = save_model(tmp_path / "m.safetensors", names)
    records = save_people(tmp_path, "test", False)
    numbered = [Annotations(one.image_path, one.boxes, one.labels % 4, one.size) for one in records]
    write_coco_json(tmp_path / "test.json", numbered, names)
    output = run("coco", "--data", tmp_path, "--weights", weights, "--resamples", 0, "--out", tmp_path / "report")
    lines = output.splitlines()
    for name in names:
        assert sum(line.startswith(f"│ {name}") for line in lines) == 2, name  # by class, and in the confusion matrix
    assert "| a\\|b |" in (tmp_path / "report/evaluation.md").read_text()


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/evaluate.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    weights = save_model(tmp_path / "m.safetensors", CAER_S_CLASSES)
    write_csv(tmp_path / "test.csv", save_people(tmp_path, "test", False), CAER_S_CLASSES)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    names["report"](str(weights), str(tmp_path))
    assert "expected calibration error" in capsys.readouterr().out
    assert Path("people.csv").is_file()
    assert Path("curves.png").is_file()
