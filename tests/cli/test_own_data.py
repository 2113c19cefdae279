"""Commands on one's own data as people and annotation tools have it: check, train, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsct.cli import app
from dsct.data import Annotations, open_split
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_json,
    write_rows,
)

COLUMNS = ["path", "x1", "y1", "x2", "y2", "label"]
CLASSES = ["calm", "happy", "sad"]
TINY = ["--preset", "tiny", "--set", "epochs=1", "--set", "batch_size=4", "--device", "cpu"]


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "220"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return " ".join(result.output.split())


def check(folder: Path, *arguments: object, code: int = 0) -> tuple[str, dict[str, Any]]:
    """What is printed, and what is written as JSON."""
    path = folder / "report" / "check.json"
    path.parent.mkdir(exist_ok=True)
    output = run("data", "check", folder, "--json", path, *arguments, code=code)
    return output, json.loads(path.read_text(encoding="utf-8"))


def people(prefix: str, count: int, people_per_image: int = 1) -> list[Annotations]:
    box = [[8, 6, 60, 90]] * people_per_image
    return [record(f"{prefix}{i}.png", box, [i % 3] * people_per_image, (128, 96)) for i in range(count)]


def own(folder: Path, file: str, records: list[Annotations], images: str = "") -> None:
    save_images(records, folder / images)
    (write_csv if file.endswith("csv") else write_coco_json)(folder / file, records, CLASSES)


def test_the_table_of_the_documentation(tmp_path: Path) -> None:
    """One image with two people: checked, and said to be too few."""
    page = Path(__file__).parents[2] / "docs/how-to/own_data.md"
    table = page.read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    (tmp_path / "train.csv").write_text(table)
    save_images([record("images/a.jpg", [], [], (240, 250))], tmp_path)
    output, report = check(tmp_path)
    assert "train.csv: 1 image is too few to cut a validation part from; add images" in output
    assert (report["ok"], report["whole"]["people"], report["whole"]["skipped"]) == (True, 2, {})
    told = run("train", "coco", "--data", tmp_path, "--run-dir", tmp_path / "run", *TINY, code=1)
    assert "1 image is too few to cut a validation part from; add images, or validation data in a file" in told
    assert "1 image is too few" in run("data", "check", tmp_path, "--split", "val", code=1)


@pytest.mark.parametrize("file", ["train.csv", "train.json"])
def test_few_images_per_class(file: str, tmp_path: Path) -> None:
    records = [record(f"{c}_{i}.png", [[8, 6, 60, 90]], [c], (128, 96)) for c in range(20) for i in range(3)]
    save_images(records, tmp_path)
    (write_csv if file.endswith("csv") else write_coco_json)(tmp_path / file, records, [f"class{c}" for c in range(20)])
    _, report = check(tmp_path)
    assert [summary["images"] for summary in report["summaries"]] == [51, 9]
    _, report = check(tmp_path, "--val-fraction", "0.5")
    assert [summary["images"] for summary in report["summaries"]] == [30, 30]


@pytest.mark.parametrize(
    ("train", "val", "images"),
    [
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json", ("train2017", "val2017")),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json", ("train", "valid")),
        ("train.csv", "valid.csv", ("", "")),
    ],
)
def test_layouts_are_checked_and_trained_on(train: str, val: str, images: tuple[str, str], tmp_path: Path) -> None:
    own(tmp_path, train, people("t", 8), images[0])
    own(tmp_path, val, people("v", 4), images[1])
    _, report = check(tmp_path)
    assert [(one["split"], one["images"]) for one in report["summaries"]] == [("train", 8), ("val", 4)]
    _, report = check(tmp_path, "--annotations", train)
    assert [(one["split"], one["images"]) for one in report["summaries"]] == [("train", 8), ("val", 4)]
    _, report = check(tmp_path, "--annotations", tmp_path / val, "--split", "val")
    assert [(one["split"], one["images"]) for one in report["summaries"]] == [("val", 4)]
    output = run("train", "coco", "--data", tmp_path, "--run-dir", tmp_path / "run", *TINY)
    assert "train: 8 images" in output
    assert "val: 4 images" in output


def test_the_share_of_validation_data_is_kept_by_the_run(tmp_path: Path) -> None:
    own(tmp_path, "train.csv", people("t", 12))
    arguments = ["--data", tmp_path, "--run-dir", tmp_path / "run", "--val-fraction", "0.5"]
    output = run("train", "coco", *arguments, *TINY)
    assert "train: 6 images" in output
    assert "val: 6 images" in output
    about = json.loads((tmp_path / "run/config.json").read_text())["data"]
    assert about["val_fraction"] == 0.5
    weights = tmp_path / "run/best.safetensors"
    output = run("eval", "coco", "--data", tmp_path, "--split", "val", "--weights", weights, "--val-fraction", "0.25",
                 "--resamples", 0, "--device", "cpu")  # fmt: skip
    assert "val: 3 images" in output


@pytest.mark.parametrize(
    ("share", "message"), [(0, "must be above 0"), (1, "between 0 and 1"), (-0.1, "between 0 and")]
)
def test_a_share_that_is_out_of_range(share: float, message: str, tmp_path: Path) -> None:
    own(tmp_path, "train.csv", people("t", 12))
    arguments = ["--data", tmp_path, "--run-dir", tmp_path / "run", f"--val-fraction={share}"]
    assert message in run("train", "coco", *arguments, *TINY, code=1)
    assert message in run("data", "check", tmp_path, f"--val-fraction={share}", code=1)


@pytest.mark.parametrize("command", ["train", "eval", "data check"])
def test_a_share_of_validation_data_is_refused_where_there_is_some(command: str, tmp_path: Path) -> None:
    write_emotic_csv(tmp_path / "train.csv", [record("a.png", [[1, 2, 30, 40]], emotic_labels(["Fear"]))])
    words = ["data", "check", tmp_path] if command == "data check" else [command, "emotic", "--data", tmp_path]
    assert "--val-fraction is for caer-s and coco" in run(*words, "--val-fraction", "0.2", code=1)


@pytest.mark.parametrize("file", ["own.csv", "train.csv", "own.json"])
def test_boxes_that_are_no_pixels(file: str, tmp_path: Path) -> None:
    records = [record(f"{i}.png", [[0.1, 0.2, 0.5, 0.9]], [0], (128, 96)) for i in range(14)]
    own(tmp_path, file, records)
    arguments = [] if file == "train.csv" else ["--annotations", file, "--split", "train"]
    message = "all boxes are smaller than a pixel: they must be in pixels, not fractions of the image"
    assert message in run("data", "check", tmp_path, *arguments, code=1)
    told = run("train", "coco", "--data", tmp_path, "--annotations", file, "--run-dir", tmp_path / "r", *TINY, code=1)
    assert message in told


def test_a_csv_is_told_by_its_header(tmp_path: Path) -> None:
    own(tmp_path / "own", "train.csv", people("t", 14))
    assert check(tmp_path / "own")[1]["summaries"][0]["source"].startswith("train.csv, one label per person")
    emotions = [record("mscoco/a.png", [[8, 6, 60, 90]], emotic_labels(["Fear"]), (128, 96))]
    save_images(emotions, tmp_path / "emotic")
    write_emotic_csv(tmp_path / "emotic/train.csv", emotions)
    assert "combined labels" in check(tmp_path / "emotic")[1]["summaries"][0]["source"]
    assert "combined labels" in check(tmp_path / "emotic", "--annotations", "train.csv")[1]["summaries"][0]["source"]
    write_csv(tmp_path / "emotic/val.csv", people("t", 3), CLASSES)
    assert "choose --name emotic" in run("data", "check", tmp_path / "emotic", code=1)


def test_people_beyond_the_subject_queries_are_counted(tmp_path: Path) -> None:
    own(tmp_path, "train.json", people("t", 9, people_per_image=8))
    output, report = check(tmp_path)
    (finding,) = (one for one in report["findings"] if one["kind"] == "more people than subject queries")
    assert (finding["severity"], finding["count"], finding["splits"]) == ("warning", 36, {"train": 32, "val": 4})
    assert "32 of 64 people (50.0%) are beyond num_subject_queries=4; the largest image has 8" in output
    assert "beyond num_subject_queries" not in check(tmp_path, "--num-subject-queries", 8)[0]
    assert "must be at least 1" in run("data", "check", tmp_path, "--num-subject-queries", 0, code=1)


def test_lost_and_mended_are_told_apart(tmp_path: Path) -> None:
    records = people("t", 14)
    save_images(records, tmp_path)
    path = write_coco_json(tmp_path / "train.json", records, CLASSES)
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = []
    content["annotations"][1]["bbox"] = [100, 50, 500, 20]
    content["images"][2]["file_name"] = "images\\t2.png"
    write_json(path, content)
    output, report = check(tmp_path, "--annotations", "train.json", "--split", "train", "--val-fraction", "0.01")
    assert report["whole"]["skipped"] == {"image without usable person": 1, "malformed box": 1}
    mended = {"backslashes in a path": 1, "box clipped": 1, "path with another beginning": 1}
    assert report["whole"]["mended"] == report["summaries"][0]["mended"] == mended
    assert "malformed box: 1, such as annotations[0] (id 0): bbox must be 4 numbers" in output
    assert "backslashes in a path: 1, such as images\\t2.png" in output
    assert "skipped while reading │ 2" in output
    assert "mended while reading │ 3" in output


def test_missing_images_are_named_with_their_places(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", COLUMNS, [["photos/a.png", 1, 2, 30, 40, "calm"]] * 2)
    (tmp_path / "images").mkdir()
    message = f"the first missing image, photos/a.png, was sought in {tmp_path}, {tmp_path / 'images'}"
    assert message in run("data", "check", tmp_path, code=1)


def test_cvat_with_check_boxes(tmp_path: Path) -> None:
    records = people("t", 14)
    path = write_coco_json(tmp_path / "annotations/instances_default.json", records, ["person"])
    save_images(records, tmp_path / "images/default")
    content = json.loads(path.read_text())
    for number, entry in enumerate(content["annotations"]):
        entry |= {"category_id": 0, "attributes": {"happy": True, "sad": number % 2 == 0, "occluded": False}}
    write_json(path, content)
    assert "--multi-label" in run("data", "check", tmp_path, code=1)
    _, report = check(tmp_path, "--multi-label")
    assert report["whole"]["people_per_class"] == {"happy": 14, "sad": 7}


def test_caer_s_takes_the_share_too(tmp_path: Path) -> None:
    faces = [record(f"train/Sad/{i}.png", [[8, 6, 60, 90]], [5], (128, 96)) for i in range(10)]
    save_images(faces, tmp_path)
    write_caer_s_text(tmp_path / "train.txt", faces)
    _, report = check(tmp_path, "--val-fraction", "0.3")
    assert [summary["images"] for summary in report["summaries"]] == [7, 3]


@pytest.mark.parametrize("file", ["valid.json", "valid/people.json", "validation/people.csv", "dev.csv"])
def test_validation_data_under_any_name(file: str, tmp_path: Path) -> None:
    """Whole, whatever the command, the Python call and the data call it."""
    records = people("v", 7)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    own(tmp_path, file, records)
    for name in "val", "valid", "validation", "dev":
        output = run("data", "check", tmp_path, "--name", "coco", "--annotations", file, "--split", name)
        assert f"val: {file}, one label per person" in output
        assert "cut with" not in output
        assert len(open_split("coco", tmp_path, name, annotations=file)) == 7
    assert "split must be one of train, val, test, got 'exam'" in run(
        "data", "check", tmp_path, "--split", "exam", code=2
    )
