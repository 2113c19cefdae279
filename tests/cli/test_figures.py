"""``dsct figure``: each figure as a command, on a data set that the test writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms.v2.functional import to_pil_image
from typer.testing import CliRunner, Result

import dsct
from dsct.cli import app
from dsct.cli.evaluation.numbers import as_json
from dsct.cli.figures import COMMANDS
from dsct.data import Annotations, SyntheticDataset
from dsct.visualize.drawing.person_cards import MISSED, WRONG
from tests.cli.test_evaluation import save_model, save_people, write_emotic
from tests.data.dataset_files import emotic_name, write_coco_json
from tests.visualize.test_evaluation import evaluation
from tests.visualize.traced_model import small_model

LOG = "epoch,train_loss,val_loss,is_best\n1,3.0,3.5,1\n2,2.0,2.5,1\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a data set in COCO's form, a run, an evaluation and a table."""
    root = tmp_path_factory.mktemp("figures")
    model = small_model(class_names=SyntheticDataset("test", 1).class_names)
    for name in ("early", "late"):
        dsct.save_model(model, root / f"{name}.safetensors")
    write_coco(root / "data")
    (root / "run").mkdir()
    (root / "run" / "log.csv").write_text(LOG)
    (root / "evaluation.json").write_text(json.dumps(as_json(evaluation(False), {})))
    (root / "plain.json").write_text(json.dumps(as_json(evaluation(False).with_(details=None), {})))
    (root / "sweep.csv").write_text("k_spatial,k_semantic,value,other\n50,50,36.1,1\n100,50,37.2,0\n")
    return root


def write_coco(folder: Path) -> None:
    scenes = SyntheticDataset("test", 3, image_size=(96, 64))
    folder.mkdir()
    images, annotations = [], []
    for number in range(3):
        name, one = f"{number}.png", scenes.annotations(number)
        to_pil_image(scenes[number][0]).save(folder / name)
        images.append({"id": number, "file_name": name, "width": 96, "height": 64})
        for (x1, y1, x2, y2), label in zip(one.boxes.tolist(), one.labels.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": label, "bbox": box})
    categories = [{"id": number, "name": name} for number, name in enumerate(scenes.class_names)]
    (folder / "test.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were written, and are written."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def figure(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(app, ["figure", *arguments])


def texts(drawing: Figure) -> list[str]:
    titles = [ax.get_title(loc="left") for ax in drawing.axes]
    return [
        *titles,
        *(text.get_text() for text in drawing.texts),
        *(t.get_text() for ax in drawing.axes for t in ax.texts),
    ]


WEIGHTS = ("--weights", "early.safetensors")
DATA = ("--dataset", "coco", "--data", "data")
EACH = {
    "people": ("data/0.png", *WEIGHTS),
    "models": ("data/0.png", "data/1.png", *WEIGHTS, "--weights", "late.safetensors"),
    "sheet": ("data/0.png", "data/1.png", *WEIGHTS),
    "annotated": ("coco", "--data", "data", "--split", "test"),
    "activations": ("data/0.png", *WEIGHTS, "--level", "1"),
    "sampling": ("data/0.png", *WEIGHTS, "--score-threshold", "0", "--person", "1", "--layer", "1"),
    "positions": (*WEIGHTS, "--weights", "other=late.safetensors"),
    "context": ("data/0.png", *WEIGHTS, "--score-threshold", "0"),
    "sweep": ("sweep.csv",),
    "curves": ("run", "again=run"),
    "classes": ("evaluation.json",),
    "people-per-image": ("evaluation.json",),
    "confusion": ("evaluation.json", "--protocol", "paper"),
    "precision-recall": ("evaluation.json",),
    "calibration": ("evaluation.json",),
    "groups": ("evaluation.json",),
}


def test_there_is_a_command_for_every_figure() -> None:
    assert list(EACH) == list(COMMANDS)
    result = CliRunner().invoke(app, ["figure", "--help"])
    assert result.exit_code == 0
    for name, place in COMMANDS.items():
        assert f"{name}  " in result.output
        assert place.help.split()[0] in result.output


@pytest.mark.parametrize("name", EACH)
def test_each_is_written_where_it_says(name: str, folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    ending = {"sweep": ".svg", "curves": ".pdf"}.get(name, ".png")
    out = tmp_path / f"made{ending}"
    result = figure(folder, name, *EACH[name], "--out", str(out), "--dpi", "60", monkeypatch=monkeypatch)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("figure: ")
    assert out.read_bytes()[:4] == {".png": b"\x89PNG", ".svg": b"<?xm", ".pdf": b"%PDF"}[ending]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def width(path: Path) -> int:
    with Image.open(path) as image:
        return image.width


def test_dots_per_inch_and_the_usual_name(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    figure(tmp_path, "sweep", str(folder / "sweep.csv"), "--dpi", "50", monkeypatch=monkeypatch)
    small = width(tmp_path / "sweep.png")
    figure(tmp_path, "sweep", str(folder / "sweep.csv"), monkeypatch=monkeypatch)
    assert width(tmp_path / "sweep.png") == 4 * small


def test_with_a_data_set_the_truth_is_shown(folder: Path, tmp_path: Path, drawn: Any, monkeypatch: Any) -> None:
    out = ("--out", str(tmp_path / "a.png"), "--score-threshold", "1", "--dpi", "40")
    for name, more in (("people", ("--index", "1")), ("sheet", ()), ("models", ("--count", "2"))):
        assert figure(folder, name, *DATA, *WEIGHTS, *more, *out, monkeypatch=monkeypatch).exit_code == 0
    people, sheet, models = drawn
    scenes = SyntheticDataset("test", 3, image_size=(96, 64))
    names = [scenes.class_names[label] for label in scenes.annotations(1).labels]
    assert [text for text in texts(people) if text.startswith("true: ")] == [f"true: {name}" for name in names]
    assert len(sheet.axes) == 2 * 3
    assert len(models.axes) == 2 * 2 * 2
    assert "truth, as annotated" in texts(models)
    assert f"{WRONG} missed" in texts(models)


def test_results_of_another_program_are_a_column(folder: Path, tmp_path: Path, drawn: Any, monkeypatch: Any) -> None:
    scene = SyntheticDataset("test", 3, image_size=(96, 64))
    one, names = scene.annotations(0), list(reversed(scene.class_names))
    first = names[(names.index(scene.class_names[one.labels[0]]) + 1) % len(names)]
    people = [
        {"box": one.boxes[0].tolist(), "score": 0.5, "labels": [first], "probabilities": dict.fromkeys(names, 0.1)}
    ]
    record = {"image": "elsewhere/0.png", "width": 96, "height": 64, "people": people}
    out = ("--out", str(tmp_path / "a.png"), "--dpi", "40", "--index", "0")
    for ending, text in ((".json", json.dumps([record])), (".jsonl", json.dumps(record) + "\n")):
        (tmp_path / f"other{ending}").write_text(text)
        results = ("--results", f"EMO-Net={tmp_path}/other{ending}")
        result = figure(folder, "models", *DATA, *WEIGHTS, *results, *out, monkeypatch=monkeypatch)
        assert result.exit_code == 0, result.output
        shown = texts(drawn[-1])
        assert {"early", "EMO-Net", f"{WRONG} {first}", f"{MISSED} {scene.class_names[one.labels[0]]}"} <= set(shown)


def test_people_and_layers_count_from_one(folder: Path, tmp_path: Path, drawn: Any, monkeypatch: Any) -> None:
    options = (*WEIGHTS, "--score-threshold", "0", "--out", str(tmp_path / "a.png"), "--dpi", "40")
    figure(folder, "context", "data/0.png", "--person", "2", "--layer", "1", *options, monkeypatch=monkeypatch)
    (ax,) = drawn[0].axes
    assert ax.get_title(loc="left").startswith("person 2, layer 1: ")
    result = figure(folder, "sampling", "data/0.png", "--layer", "5", *options, monkeypatch=monkeypatch)
    assert result.output == "error: draw_sampling: layer must be in -2..1, got 4 (layer 5 in figures)\n"
    result = figure(folder, "context", "data/0.png", "--person", "9", *options, monkeypatch=monkeypatch)
    assert "got 8 (person 9 in figures)" in result.output


def test_figures_of_a_saved_evaluation_are_those_of_the_evaluation(folder: Path, tmp_path: Path) -> None:
    from dsct.cli.figures.saved_evaluation import read_evaluation

    for several in (False, True):
        for bootstrap in (False, True):
            made = evaluation(several, bootstrap)
            (tmp_path / "evaluation.json").write_text(json.dumps(as_json(made, {})))
            read = read_evaluation(tmp_path)
            assert list(read.protocols) == list(made.protocols)
            for name, one in made.protocols.items():
                assert read[name].value == pytest.approx(one.value, nan_ok=True)
                np.testing.assert_allclose(read[name].per_class, one.per_class)
                assert read[name].by_subjects == pytest.approx(one.by_subjects, nan_ok=True)
                if one.intervals is not None:
                    intervals = read[name].intervals
                    assert intervals is not None
                    np.testing.assert_allclose(intervals.per_class, one.intervals.per_class)
            assert read.box_recall_by_subjects == made.box_recall_by_subjects
            assert as_json(read, {}) == {**as_json(made, {}), "worst_images": []}


WRONG_USE = {
    "neither images nor data": (("people", *WEIGHTS), "give either images or --dataset"),
    "both": (("people", "data/0.png", *DATA, *WEIGHTS), "give either images or --dataset"),
    "several images for one": (("people", "data/0.png", "data/1.png", *WEIGHTS), "shows one image, got 2"),
    "no such image": (("people", "none.png", *WEIGHTS), "none.png"),
    "no such index": (("people", *DATA, "--index", "3", *WEIGHTS), "--index must be below 3"),
    "another format": (("people", "data/0.png", *WEIGHTS, "--out", "a.jpg"), "ending in .png, .svg, .pdf, got a.jpg"),
    "no dots": (("people", "data/0.png", *WEIGHTS, "--dpi", "0"), "--dpi must be above 0, got 0"),
    "no models": (("models", "data/0.png"), "--weights must name at least one model"),
    "one name twice": (("models", "data/0.png", *WEIGHTS, *WEIGHTS), "'early' stands twice"),
    "no file after the name": (("models", "data/0.png", "--weights", "a="), "must be FILE or NAME=FILE, got 'a='"),
    "no results": (("models", "data/0.png", *WEIGHTS, "--results", "sweep.csv"), "sweep.csv must be what"),
    "synthetic annotations": (("annotated", "synthetic"), "see `dsct figure sheet`"),
    "no log": (("curves", "data"), "no log of a run at data/log.csv"),
    "no evaluation": (("classes", "data"), "no evaluation at data/evaluation.json"),
    "something else than an evaluation": (("classes", "data/test.json"), "must be what `dsct eval` writes"),
    "no such protocol": (("confusion", "evaluation.json", "--protocol", "x"), "must be one of official, paper"),
    "an evaluation without details": (("calibration", "plain.json"), "plain.json has no calibration"),
    "an evaluation without curves": (("precision-recall", "plain.json"), "must be computed with details=True"),
    "no such column": (("sweep", "sweep.csv", "--value", "mAP"), "must have the columns k_spatial, k_semantic, mAP"),
    "words in the table": (("sweep", "words.csv"), "words.csv, line 2: expected numbers, got k_spatial 'a'"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use_is_one_sentence(case: str, folder: Path, monkeypatch: Any) -> None:
    (folder / "words.csv").write_text("k_spatial,k_semantic,value\na,1,2\n")
    arguments, expected = WRONG_USE[case]
    before = sorted(folder.iterdir())
    result = figure(folder, *arguments, monkeypatch=monkeypatch)
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert sorted(folder.iterdir()) == before


def test_other_classes_are_named(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    dsct.save_model(small_model(class_names=tuple("abcdefg")), tmp_path / "other.safetensors")
    result = figure(folder, "people", *DATA, "--weights", str(tmp_path / "other.safetensors"), monkeypatch=monkeypatch)
    assert result.exit_code == 1
    assert "class" in result.output


@pytest.mark.parametrize(
    "command", [("overfit", "coco", "--data", "data", "--page"), ("data", "check", "data", "--sheet")]
)
def test_pages_of_other_commands_are_refused_before_the_work(command: Any, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, [*command, "page.gif"])
    assert result.exit_code == 1
    assert result.output == "error: a figure must be written to a file ending in .png, .svg, .pdf, got page.gif\n"


def truths(drawing: Figure) -> list[str]:
    return [text.removeprefix("true: ").split(", ")[0] for text in texts(drawing) if text.startswith("true: ")]


@pytest.mark.parametrize("form", ["json", "csv", "mat"])
def test_emotic_beside_its_truth(form: str, tmp_path: Path, drawn: Any, monkeypatch: Any) -> None:
    weights = save_model(tmp_path / "m.safetensors")
    records = save_people(tmp_path / "data", "test", True, emotic_name("test"))
    write_emotic(form, tmp_path / "data", "test", records)
    options = (
        "--dataset",
        "emotic",
        "--data",
        "data",
        "--weights",
        str(weights),
        "--score-threshold",
        "1",
        "--dpi",
        "40",
    )
    for name, more in (("people", ("--index", "1")), ("models", ("--count", "1"))):
        result = figure(tmp_path, name, *options, *more, monkeypatch=monkeypatch)
        assert result.exit_code == 0, result.output
    names = dsct.load_model(weights).config.names
    assert truths(drawn[0]) == [names[row.argmax()] for row in records[1].labels]
    result = figure(tmp_path, "annotated", "emotic", "--data", "data", "--split", "test", "--dpi", "40",
                    monkeypatch=monkeypatch)  # fmt: skip
    assert result.exit_code == 0, result.output


def test_own_data_are_numbered_by_the_names_of_the_model(tmp_path: Path, drawn: Any, monkeypatch: Any) -> None:
    weights = save_model(tmp_path / "m.safetensors", ("calm", "happy", "sad", "tense"))
    (one, *_) = save_people(tmp_path / "data", "test", False)
    own = Annotations(one.image_path, one.boxes, np.arange(len(one)) % 2, one.size)
    write_coco_json(tmp_path / "data" / "test.json", [own], ("sad", "calm"))
    result = figure(tmp_path, "people", "--dataset", "coco", "--data", "data", "--weights", str(weights),
                    "--score-threshold", "1", monkeypatch=monkeypatch)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert truths(drawn[0]) == ["sad", "calm"][: len(one)]
