"""The path that everybody walks, as commands, on miniature data in every form that people have.

check → overfit → train → stop → resume → eval → fit thresholds → predict → report.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from dsct.cli import app
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data.records import Annotations
from dsct.train.step import OptimizerStep
from tests.data.dataset_files import (
    record,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_emotic_json,
    write_mat,
    write_rows,
)

SIZES = {"train": 8, "val": 4, "test": 3}
OWN_CLASSES = ("calm", "happy", "sad")
SMALL = [
    "--preset", "tiny", "--device", "cpu", "--set", "num_context_queries=4", "--set", "enc_layers=1",
    "--set", "dim_feedforward=16", "--set", "batch_size=2", "--set", "epochs=2", "--set", "short_side=48",
]  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A data set in one of its forms: how to write it, and what the commands are told beside ``--data``."""

    dataset: str
    write: Callable[[Path], None]
    multi_label: bool
    options: tuple[str, ...] = ()


def images_of(folder: Path, split: str, classes: int, multi_label: bool, name: str) -> list[Annotations]:
    """Records of one or two people each, and their images in the folder; every class occurs."""
    random = np.random.default_rng(list(SIZES).index(split))
    records = []
    for number in range(SIZES[split]):
        size = [(64, 48), (48, 64), (80, 48)][number % 3]
        people = 1 + number % 2
        corners = [[4.0, 4.0, 24.0, 40.0], [26.0, 6.0, 46.0, 44.0]][:people]
        if multi_label:
            labels = random.integers(0, 2, (people, classes))
            labels[:, number % classes] = 1
        else:
            labels = np.full(people, number % classes)
        class_name = "several" if multi_label else CAER_S_CLASSES[labels[0] % len(CAER_S_CLASSES)]
        one = record(name.format(split=split, number=number, class_name=class_name), corners, labels, size)
        assert one.image_path is not None
        path = folder / one.image_path
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", size, (40 * (number % 5), 120, 200))
        for box in corners:
            ImageDraw.Draw(image).rectangle(box, fill=(250, 30 * number, 20))
        image.save(path)
        records.append(one)
    return records


def emotic(folder: Path, split: str) -> list[Annotations]:
    return images_of(folder, split, len(EMOTIC_CLASSES), True, "mscoco/images/{split}_{number}.png")


def emotic_json(folder: Path) -> None:
    for split in SIZES:
        write_emotic_json(folder / f"emotic_{split}_bi.json", emotic(folder, split))


def emotic_mat(folder: Path) -> None:
    write_mat(folder / "Annotations.mat", {split: emotic(folder, split) for split in SIZES})


def emotic_csv(folder: Path) -> None:
    for split in SIZES:
        write_emotic_csv(folder / f"{split}.csv", emotic(folder, split))


def emotic_arrays(folder: Path) -> None:
    """Each image as an array beside a table with a column per class."""
    columns = ("Filename", "X_min", "Y_min", "X_max", "Y_max", *EMOTIC_CLASSES, "Valence", "Arousal", "Dominance")
    (folder / "img_arrs").mkdir()
    for split in SIZES:
        rows = []
        for one in emotic(folder, split):
            assert one.image_path is not None
            array = f"{one.image_path.stem}.npy"
            image = folder / one.image_path
            np.save(folder / "img_arrs" / array, np.asarray(Image.open(image)))
            image.unlink()
            for box, labels in zip(one.boxes, one.labels, strict=True):
                rows.append([image.name, *box, *labels, 5, 6, 7, *one.size, "Adult", "Female", array, f"crop_{array}"])
        header = (*columns, "Width", "Height", "Age", "Gender", "Arr_name", "Crop_name")
        write_rows(folder / "annots_arrs" / f"annot_arrs_{split}.csv", header, rows)


def caer_s(folder: Path, split: str) -> list[Annotations]:
    name = "{split}/{class_name}/{number:04d}.png"
    return images_of(folder, split, len(CAER_S_CLASSES), False, name)


def caer_s_text(folder: Path) -> None:
    for split in ("train", "test"):
        write_caer_s_text(folder / f"{split}.txt", caer_s(folder, split))


def caer_s_json(folder: Path) -> None:
    for split in ("train", "test"):
        write_coco_json(folder / f"caer_{split}.json", caer_s(folder, split), CAER_S_CLASSES)


def own(write: Callable[..., Path], suffix: str, multi_label: bool) -> Callable[[Path], None]:
    def write_all(folder: Path) -> None:
        for split in SIZES:
            records = images_of(folder, split, len(OWN_CLASSES), multi_label, "images/{split}_{number}.png")
            write(folder / f"{split}.{suffix}", records, OWN_CLASSES)

    return write_all


FORMS = {
    "emotic-json": Form("emotic", emotic_json, True),
    "emotic-mat": Form("emotic", emotic_mat, True),
    "emotic-csv": Form("emotic", emotic_csv, True),
    "emotic-arrays": Form("emotic", emotic_arrays, True),
    "caer-s-text": Form("caer-s", caer_s_text, False, ("--val-fraction", "0.3")),
    "caer-s-json": Form("caer-s", caer_s_json, False, ("--val-fraction", "0.3")),
    "coco-json": Form("coco", own(write_coco_json, "json", False), False),
    "coco-json-several": Form("coco", own(write_coco_json, "json", True), True, ("--multi-label",)),
    "coco-csv": Form("coco", own(write_csv, "csv", False), False),
    "coco-csv-several": Form("coco", own(write_csv, "csv", True), True, ("--multi-label",)),
}


def run(*arguments: Any, code: int | tuple[int, ...] = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})
    codes = (code,) if isinstance(code, int) else code
    assert result.exit_code in codes, f"{arguments}: {result.output}{result.exception!r}"
    return result.output


def stop_after(steps: int, patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C arrives during that step."""
    taken = 0
    take = OptimizerStep.__call__

    def interrupted(self: OptimizerStep, *arguments: Any, **options: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == steps:
            signal.raise_signal(signal.SIGINT)
        return take(self, *arguments, **options)

    patch.setattr(OptimizerStep, "__call__", interrupted)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_from_check_to_report(form: Form, tmp_path: Path) -> None:
    data, run_dir = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    form.write(data)
    here = [form.dataset, "--data", data, *form.options]

    assert " error" not in run("data", "check", data, *form.options)
    page = tmp_path / "page.png"
    told = run("overfit", *here, "--images", 2, "--steps", 3, "--short-side", 48, "--page", page, code=(0, 1))
    assert page.is_file(), told

    with pytest.MonkeyPatch.context() as patch:
        stop_after(3, patch)
        stopped = run("train", *here, *SMALL, "--run-dir", run_dir, code=130)
    assert "can be resumed" in stopped
    run("train", *here, "--run-dir", run_dir, "--resume", "--device", "cpu")
    epochs = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in epochs if "val_loss" in line] == [1, 2]

    weights = run_dir / "best.safetensors"
    where = [form.dataset, "--data", data, "--device", "cpu", "--resamples", 20]
    chosen_by = run("eval", *where, "--weights", run_dir, "--split", "val")
    assert "these are the validation data of the run" in " ".join(chosen_by.split())
    if form.multi_label:
        fitted = tmp_path / "fitted.safetensors"
        run("eval", *where, "--weights", weights, "--split", "val", "--fit-thresholds", fitted)
        weights = fitted
    report, numbers, people = tmp_path / "report", tmp_path / "numbers.json", tmp_path / "people.csv"
    printed = run("eval", *where, "--weights", weights, "--out", report, "--json", numbers, "--people", people)
    assert "chance" in printed
    written = json.loads(numbers.read_text())
    annotated = sum(1 + number % 2 for number in range(SIZES["test"]))
    assert (written["images"], written["people"]) == (SIZES["test"], annotated)
    assert len(people.read_text().splitlines()) == 1 + annotated
    assert (report / "evaluation.md").is_file()

    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (64, 48), "teal").save(images / "a.png")
    Image.new("RGB", (48, 64), "teal").save(images / "b.jpg")
    found = json.loads(run("predict", images, "--weights", weights, "--device", "cpu", "--json", "--quiet"))
    assert [Path(one["image"]).name for one in found] == ["a.png", "b.jpg"]
