"""Commands open each split once: before the first step no annotation file and no image header is read twice.

Counted are the files that the interpreter opens, whatever function opens them.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES, DSCTConfig
from dsct.data.folders import open_split
from dsct.data.records import Annotations
from tests.data import dataset_files as files

SMALL = [
    "--preset", "tiny", "--set", "num_context_queries=6", "--set", "k_spatial=3", "--set", "k_semantic=2", "--set",
    "enc_layers=1", "--set", "dim_feedforward=32", "--set", "epochs=1", "--set", "batch_size=2", "--set", "workers=0",
    "--device", "cpu",
]  # fmt: skip
BOX = [[8, 6, 30, 40]]
CLASSES = ("calm", "happy")


def emotic(split: str, size: int) -> list[Annotations]:
    labels = files.emotic_labels(["Fear"])
    return [files.record(f"mscoco/images/{split}_{i}.png", BOX, labels, (64, 48)) for i in range(size)]


def own(split: str, size: int) -> list[Annotations]:
    return [files.record(f"images/{split}_{i}.png", BOX, [i % 2], (64, 48)) for i in range(size)]


def faces(size: int) -> list[Annotations]:
    return [files.record(f"train/Happy/{i:04d}.png", BOX, [3], (64, 48)) for i in range(size)]


EMOTIC = {"train": emotic("train", 5), "val": emotic("val", 2)}
OWN = {"train": own("train", 5), "val": own("val", 2)}
# Some images of EMOTIC's CSV files are in more than one split.
SHARED = {"train": EMOTIC["train"], "val": [*EMOTIC["val"], EMOTIC["train"][0]]}
FACES = {"train": faces(14)}


def emotic_json(root: Path) -> None:
    for split, records in EMOTIC.items():
        files.write_emotic_json(root / f"emotic_{split}_bi.json", records)


def emotic_csv(root: Path) -> None:
    for split, records in SHARED.items():
        files.write_emotic_csv(root / f"{split}.csv", records)


def own_json(root: Path) -> None:
    for split, records in OWN.items():
        files.write_coco_json(root / f"{split}.json", records, CLASSES)


def own_csv(root: Path) -> None:
    for split, records in OWN.items():
        files.write_csv(root / f"{split}.csv", records, CLASSES)


FORMS: dict[str, tuple[str, Callable[[Path], object], dict[str, list[Annotations]]]] = {
    "EMOTIC JSON": ("emotic", emotic_json, EMOTIC),
    "EMOTIC mat": ("emotic", lambda root: files.write_mat(root / "Annotations.mat", EMOTIC), EMOTIC),
    "EMOTIC CSV": ("emotic", emotic_csv, SHARED),
    "CAER-S text": ("caer-s", lambda root: files.write_caer_s_text(root / "train.txt", FACES["train"]), FACES),
    "CAER-S JSON": (
        "caer-s",
        lambda root: files.write_coco_json(root / "caer_train.json", FACES["train"], CAER_S_CLASSES),
        FACES,
    ),
    "own JSON": ("coco", own_json, OWN),
    "own CSV": ("coco", own_csv, OWN),
    "own JSON, validation cut from it": (
        "coco",
        lambda root: files.write_coco_json(root / "annotations.json", faces(14), CAER_S_CLASSES),
        FACES,
    ),
    "own CSV, validation cut from it": (
        "coco",
        lambda root: files.write_csv(root / "train.csv", faces(14), CAER_S_CLASSES),
        FACES,
    ),
}


class Opened:
    """Counts how often each file of a folder is opened. An audit hook cannot be removed, so there is one for all."""

    folder: ClassVar[Path | None] = None
    counts: ClassVar[Counter[Path]] = Counter()

    @classmethod
    def hook(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and cls.folder is not None and isinstance(arguments[0], str):
            path = Path(arguments[0])
            if path.is_relative_to(cls.folder):
                cls.counts[path.relative_to(cls.folder)] += 1


sys.addaudithook(Opened.hook)


@contextmanager
def opened(folder: Path) -> Iterator[Counter[Path]]:
    Opened.folder, Opened.counts = folder, Counter()
    try:
        yield Opened.counts
    finally:
        Opened.folder = None


@pytest.fixture(params=FORMS)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    name, write, splits = FORMS[request.param]
    root = tmp_path / "data"
    for records in splits.values():
        files.save_images(records, root)
    write(root)
    return name, root


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


def stop(*_arguments: Any, **_options: Any) -> None:
    raise ValueError("the first step")


def images(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*.png")}


def annotations(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()} - images(root)


def test_train(data: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, root = data
    monkeypatch.setattr("dsct.train.step.OptimizerStep.__call__", stop)
    with opened(root) as counts:
        assert "the first step" in run("train", name, "--data", root, "--run-dir", tmp_path / "run", *SMALL, code=1)
    assert {path: counts[path] for path in annotations(root)} == dict.fromkeys(annotations(root), 1)
    # Every image for its size, and the two of the first batch for their pixels.
    assert set(counts) == images(root) | annotations(root)
    assert sorted(counts[path] for path in images(root)) == [1] * (len(images(root)) - 2) + [2] * 2


def test_resume(data: tuple[str, Path], tmp_path: Path) -> None:
    name, root = data
    run("train", name, "--data", root, "--run-dir", tmp_path / "run", *SMALL)
    with opened(root) as counts:
        run("train", name, "--run-dir", tmp_path / "run", "--resume", "--device", "cpu")
    assert counts == dict.fromkeys(images(root) | annotations(root), 1)


@pytest.mark.parametrize("command", ["overfit", "eval"])
def test_other_commands(command: str, data: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, root = data
    arguments: list[object] = []
    if command == "eval":
        names = open_split(name, root, "val").class_names
        multi_label = names == EMOTIC_CLASSES
        config = DSCTConfig.tiny(num_classes=len(names), class_names=names, multi_label=multi_label)
        dsct.save_model(dsct.DSCT(config), tmp_path / "model.safetensors")
        arguments = ["--weights", tmp_path / "model.safetensors"]
    places = {
        "overfit": ("dsct.train.overfit", "overfit"),
        "eval": ("dsct.cli.evaluation.evaluate", "_run"),
    }
    module, name_in_it = places[command]
    monkeypatch.setattr(importlib.import_module(module), name_in_it, stop)
    with opened(root) as counts:
        output = run(command, name, "--data", root, "--split", "val", "--device", "cpu", *arguments, code=1)
    assert "the first step" in output
    assert set(counts) & images(root)
    assert max(counts.values()) == 1


def test_data_check_parses_each_annotation_file_once(data: tuple[str, Path]) -> None:
    name, root = data
    with opened(root) as counts:
        CliRunner().invoke(app, ["data", "check", str(root), "--name", name])
    assert {path: counts[path] for path in annotations(root)} == dict.fromkeys(annotations(root), 1)
