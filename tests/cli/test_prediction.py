"""`dsct predict` on folders and videos: which files, in which order, and files of results that equal `dsct.predict`."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.cli.prediction.inputs import collect
from dsct.prediction import shipped_weights
from dsct.prediction.people import People
from dsct.prediction.predictor import Predictor, predict_frames
from dsct.prediction.video import VideoWriter, frames
from tests.prediction.drawn_video import drawn, encode, encode_sound


def run(*arguments: Any, code: int = 0, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "200", **(env or {})})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return drawn(5)


@pytest.fixture
def folder(tmp_path: Path, images: list[Image.Image]) -> Path:
    """Images 1, 2, 10 and deep/1, among files of other kinds."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name, image in zip(("10.png", "1.png", "2.PNG", "deep/1.png"), images, strict=False):
        image.save(folder / name)
    for name in ("notes.txt", "table.csv", "deep/more.txt", ".hidden.png", "README"):
        (folder / name).write_text("no image")
    (folder / ".cache").mkdir()
    images[0].save(folder / ".cache" / "thumbnail.png")
    return folder


@pytest.fixture
def clip(tmp_path: Path, images: list[Image.Image]) -> Path:
    """Five frames of 0.2 s."""
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for number, image in enumerate(images):
            writer.write(number / 5, image)
    return tmp_path / "clip.mp4"


IN_ORDER = ["1.png", "2.PNG", "10.png", "deep/1.png"]


def as_rows(people: People, path: Path, time: float | None = None) -> list[dict[str, str]]:
    """What CSV must hold."""
    return [
        {
            "image": str(path), "time": "" if time is None else str(time), "person": str(number),
            **{name: str(value) for name, value in zip(("x1", "y1", "x2", "y2"), person.box, strict=True)},
            "score": str(person.score), "labels": ", ".join(person.labels),
            **{name: str(value) for name, value in person.probabilities.items()},
        }
        for number, person in enumerate(people, start=1)
    ]  # fmt: skip


def test_folder_in_natural_order_as_json_json_lines_and_csv(folder: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "results" / f"a.{ending}" for ending in ("json", "jsonl", "csv")]
    result = run(folder, *(argument for out in outs for argument in ("--out", out)))
    assert result.stdout == ""
    assert "neither images nor videos: 2 .txt, 1 without ending, 1 .csv" in result.stderr.replace("\n", " ")
    paths = [folder / name for name in IN_ORDER]
    expected = dsct.predict(paths)
    assert sum(map(len, expected)) > 4
    assert json.loads(outs[0].read_text()) == [people.to_dict() for people in expected]
    assert [json.loads(line) for line in outs[1].read_text().splitlines()] == [people.to_dict() for people in expected]
    rows = list(csv.DictReader(io.StringIO(outs[2].read_text())))
    assert rows == [row for people, path in zip(expected, paths, strict=True) for row in as_rows(people, path)]
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"a.json", "a.jsonl", "a.csv"}


def test_csv_reads_as_the_data_frames(folder: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    run(folder, "--out", tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv")
    expected = pandas.concat(
        [people.to_dataframe() for people in dsct.predict([folder / name for name in IN_ORDER])], ignore_index=True
    )
    pandas.testing.assert_frame_equal(table.drop(columns="time"), expected, check_exact=False, rtol=1e-6)
    assert table["time"].isna().all()


def test_printed_json_is_that_of_the_results(folder: Path) -> None:
    people = dsct.predict([folder / name for name in IN_ORDER[:2]])
    printed = run(*(folder / name for name in IN_ORDER[:2]), "--json").stdout
    assert printed == json.dumps([one.to_dict() for one in people], indent=2, ensure_ascii=False) + "\n"


def test_printed_text_is_that_of_the_results_with_the_note_once(folder: Path, clip: Path) -> None:
    path = folder / "1.png"
    assert run(path).stdout == f"{dsct.predict(path)}\n"
    printed = run(path, clip, "--every", 4).stdout
    assert [line for line in printed.splitlines() if "128 x 96" in line] == [
        line.replace("image", name).partition("): ")[0] + f"): {count}"
        for line, name, count in zip(
            ["image (128 x 96): "] * 3,
            [str(path), f"{clip} at 0.00 s", f"{clip} at 0.80 s"],
            [str(people).partition("): ")[2].splitlines()[0] for people in (
                dsct.predict(path), *(people for _, people in predict_frames(clip, every=4))
            )],
            strict=True,
        )
    ]  # fmt: skip
    assert printed.count("note: ") == 1
    assert printed.splitlines()[-1].startswith("note: ")


def test_video_frames_have_times(clip: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a.json", tmp_path / "a.csv"]
    run(clip, "--every", 2, "--out", outs[0], "--out", outs[1], "--batch-size", 2)
    expected = list(predict_frames(clip, every=2, batch_size=2))
    assert [time for time, _ in expected] == [0.0, 0.4, 0.8]
    written = json.loads(outs[0].read_text())
    assert written == [{**people.to_dict(), "image": str(clip), "time": time} for time, people in expected]
    assert list(written[0]) == ["image", "time", "width", "height", "note", "people"]
    rows = list(csv.DictReader(io.StringIO(outs[1].read_text())))
    assert rows == [row for time, people in expected for row in as_rows(people, clip, time)]


def test_annotated_images_and_videos(folder: Path, clip: Path, tmp_path: Path) -> None:
    run(folder, clip, "--annotate", tmp_path / "drawn", "--quiet")
    names = ["001_1.png", "002_2.png", "003_10.png", "004_1.png", "005_clip.mp4"]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == names
    for name in names[:4]:
        with Image.open(tmp_path / "drawn" / name) as figure:
            assert figure.width >= 1000
    before, after = (list(frames(path)) for path in (clip, tmp_path / "drawn" / "005_clip.mp4"))
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before])
    for (_, plain), (_, image) in zip(before, after, strict=True):
        assert image.size == plain.size
        difference = np.abs(np.asarray(plain, np.int16) - np.asarray(image, np.int16)).max(2)
        assert (difference > 60).sum() > 100  # boxes and tags
        assert np.median(difference) < 30


def test_two_videos_of_one_name_get_a_file_each(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    encode(tmp_path / "other" / "clip.mp4", drawn(3))
    run(clip, tmp_path / "other" / "clip.mp4", "--annotate", tmp_path / "drawn")
    counts = {path.name: len(list(frames(path))) for path in (tmp_path / "drawn").iterdir()}
    assert counts == {"001_clip.mp4": 5, "002_clip.mp4": 3}


def test_folder_with_videos(folder: Path, clip: Path, tmp_path: Path) -> None:
    clip.rename(folder / "deep" / "0.mp4")
    run(folder, "--out", tmp_path / "a.json", "--every", 5)
    found = [Path(one["image"]).relative_to(folder).as_posix() for one in json.loads((tmp_path / "a.json").read_text())]
    assert found == ["1.png", "2.PNG", "10.png", "deep/0.mp4", "deep/1.png"]


def test_unreadable_files_are_named_at_the_end(folder: Path, tmp_path: Path) -> None:
    (folder / "3.jpg").write_bytes(b"\xff\xd8 and no more")
    Image.new("RGB", (9000, 1)).save(folder / "4.png")
    (folder / "5.mp4").write_bytes(b"no video")
    encode_sound(folder / "6.wav").rename(folder / "6.avi")
    whole = encode(tmp_path / "whole.mp4", drawn(30), options={"movflags": "faststart"}).read_bytes()
    (folder / "7.mp4").write_bytes(whole[: len(whole) // 2])
    result = run(folder, "--out", tmp_path / "a.jsonl", "--every", 100, code=1)
    assert "5 of 9 files could not be read, or not completely:" in result.stderr
    told = result.stderr.partition("not completely:\n")[2].splitlines()
    for line, name, reason in zip(
        told,
        ["3.jpg", "4.png", "5.mp4", "6.avi", "7.mp4"],
        ["cannot identify", "too narrow", "is not a video, or damaged", "contains no video", "ends after"],
        strict=True,
    ):
        assert str(folder / name) in line
        assert reason in line
    read = [Path(json.loads(line)["image"]).name for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert read == ["1.png", "2.PNG", "7.mp4", "10.png", "1.png"]


def test_nobody_found_is_no_row_but_an_object(tmp_path: Path) -> None:
    Image.new("RGB", (128, 96)).save(tmp_path / "a.png")
    run(tmp_path / "a.png", "--out", tmp_path / "a.csv", "--out", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())[0]["people"] == []
    assert (tmp_path / "a.csv").read_text().startswith("image,time,person,x1,y1,x2,y2,score,labels,Anger,")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["Übermut 😀.png", "a\u2028b.png", os.fsdecode(b"caf\xe9.png"), 'a,"b".png'])
def test_names_of_any_kind_come_back(name: str, tmp_path: Path, images: list[Image.Image]) -> None:
    path = tmp_path / name
    images[0].save(path)
    outs = [tmp_path / "out" / f"a.{ending}" for ending in ("json", "jsonl", "csv")]
    run(path, *(argument for out in outs for argument in ("--out", out)), "--json", "--annotate", tmp_path / "drawn")
    (one,) = json.loads(outs[0].read_text(encoding="utf-8"))
    assert one["image"] == str(path)
    assert json.loads(outs[1].read_text(encoding="utf-8")) == one
    row = next(csv.DictReader(io.StringIO(outs[2].read_text(encoding="utf-8"))))
    assert row["image"] == str(path).encode("utf-8", "backslashreplace").decode()
    assert (tmp_path / "drawn" / f"001_{name}").exists()


def test_interrupted_run_leaves_whole_files(
    folder: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames_of = Predictor.frames

    def interrupted(predictor: Predictor, path: Path, **options: Any) -> Iterator[tuple[float, People]]:
        yield from list(frames_of(predictor, path, **options))[:3]
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "frames", interrupted)
    outs = [tmp_path / f"a.{ending}" for ending in ("json", "jsonl", "csv")]
    result = run(
        folder / "1.png", clip, "--json", "--annotate", tmp_path / "drawn",
        *(argument for out in outs for argument in ("--out", out)), code=130,
    )  # fmt: skip
    assert "interrupted" in result.stderr
    written = json.loads(outs[0].read_text())
    assert [one.get("time") for one in written] == [None, 0.0, 0.2, 0.4]
    assert json.loads(result.stdout) == written
    assert [json.loads(line) for line in outs[1].read_text().splitlines()] == written
    rows = list(csv.DictReader(io.StringIO(outs[2].read_text())))
    assert len(rows) == sum(len(one["people"]) for one in written)
    assert len(list(frames(tmp_path / "drawn" / "002_clip.mp4"))) == 3


def test_interrupted_before_the_first_result_is_an_empty_list(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[People]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Predictor, "stream", interrupted)
    run(folder, "--out", tmp_path / "a.json", code=130)
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_progress_goes_to_a_terminal_only(folder: Path) -> None:
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm"}
    assert "predicting" not in run(folder).output
    shown = run(folder, "--json", env=terminal)
    assert "predicting" in shown.stderr
    assert len(json.loads(shown.stdout)) == 4
    hidden = run(folder, "--json", "--quiet", env=terminal)
    assert "predicting" not in hidden.stderr
    assert "neither" not in hidden.stderr
    assert hidden.stdout == shown.stdout


def test_without_pyav_images_go_on(folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    result = run(folder, clip, "--json", code=1)
    assert len(json.loads(result.stdout)) == 4
    assert f"{clip}: video needs PyAV: pip install 'dsct[video]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--out", "a.xml"], "--out must end in .json, .jsonl, .csv, got 'a.xml'"),
        (["absent.jpg", "--out", "a.csv"], "error: there is no file or folder absent.jpg\n"),
        (
            ["absent.jpg", "empty"],
            "error: there is no file or folder absent.jpg; empty contains no image and no video\n",
        ),
        (["empty", "--out", "a.csv"], "error: empty contains no image and no video\n"),
        (["texts", "--out", "a.csv"], "error: texts contains no image and no video, but 1 other file\n"),
        (["photos", "--out", "photos/1.png/a.csv"], "1.png"),
        (
            ["photos", "--threshold", "0.1"],
            "threshold is for models with several emotions per person; this one reports the",
        ),
        (["photos", "--nms-iou", "-1"], "nms_iou must be in [0, 1], got -1"),
        (["photos", "--nms-iou", "nan"], "nms_iou must be in [0, 1], got nan"),
        (["photos", "--score-threshold", "nan"], "score_threshold must be a number, got nan"),
        (["photos", "--short-side", "200", "--long-side", "100"], "long_side must be greater than short_side"),
        (["photos", "--device", "meta"], "--device must be a device that computes, got 'meta', which has no values"),
        (["photos", "--device", "gpu"], "--device must be a device of this machine, got 'gpu': "),
    ],
)
def test_mistakes_are_told_in_one_sentence_before_anything_is_written(
    arguments: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "empty").mkdir()
    (folder.parent / "texts" / "deep").mkdir(parents=True)
    (folder.parent / "texts" / "deep" / "a.txt").touch()
    monkeypatch.chdir(folder.parent)
    before = sorted(folder.parent.rglob("*"))
    result = run(*arguments, code=1)
    assert message in result.stderr
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("option", ["--every", "--batch-size"])
def test_counts_are_at_least_one(option: str, folder: Path) -> None:
    assert option in run(folder, option, 0, code=2).stderr


def test_each_file_is_taken_once_and_hidden_ones_only_by_name(folder: Path) -> None:
    files, others = collect([folder / "2.PNG", folder, folder / "deep", folder / ".hidden.png"])
    assert [file.path.relative_to(folder).as_posix() for file in files] == [
        "2.PNG", "1.png", "10.png", "deep/1.png", ".hidden.png",
    ]  # fmt: skip
    assert sum(others.values()) == 5


def test_content_decides_where_the_name_says_nothing(folder: Path, clip: Path, images: list[Image.Image]) -> None:
    images[0].save(folder / "photo", format="JPEG")
    clip.rename(folder / "film.data")
    files, _ = collect([folder / "photo", folder / "film.data"])
    assert [file.is_video for file in files] == [False, True]
    assert len(json.loads(run(folder / "photo", folder / "film.data", "--json").stdout)) == 6


def test_natural_order(tmp_path: Path) -> None:
    names = ["a1.jpg", "A2.jpg", "a10.jpg", "b.jpg", "b/1.jpg", "b/x.jpg", "b 2/1.jpg", "b 10/1.jpg", "²/1.jpg"]
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name == "b.jpg" or not (tmp_path / name).exists():
            (tmp_path / name).touch()
    files, others = collect([tmp_path])
    assert [file.path.relative_to(tmp_path).as_posix() for file in files] == names
    assert not others


def test_what_is_missing_is_counted_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    missing = [tmp_path / "absent.jpg", tmp_path / "empty"]
    result = run(missing[0], folder / "1.png", missing[1], folder / "2.PNG", "--json", code=1)
    assert [Path(one["image"]).name for one in json.loads(result.stdout)] == ["1.png", "2.PNG"]
    assert "2 of 4 files could not be read, or not completely:" in result.stderr
    assert all(str(path) in result.stderr for path in missing)


@pytest.mark.parametrize(
    ("option", "argument"),
    [("--score-threshold", 0.13), ("--nms-iou", 1), ("--nms-iou", 0), ("--short-side", 64), ("--long-side", 100)],
)
def test_options_are_those_of_python(option: str, argument: float, folder: Path) -> None:
    path = folder / "1.png"
    printed = run(path, option, argument, "--json").stdout
    name = option.removeprefix("--").replace("-", "_")
    expected = dsct.predict(path, **{name: argument})
    assert printed == json.dumps([expected.to_dict()], indent=2, ensure_ascii=False) + "\n"


def test_a_threshold_is_used_where_there_are_several_emotions(folder: Path, tmp_path: Path) -> None:
    config = dsct.DSCTConfig.tiny(multi_label=True, num_classes=4)
    dsct.save_model(dsct.DSCT(config), tmp_path / "model.safetensors")
    common = (folder / "1.png", "--weights", tmp_path / "model.safetensors", "--score-threshold", 0, "--json")
    for threshold, expected in ((0.999, 0), (0, 4)):
        (found,) = json.loads(run(*common, "--threshold", threshold).stdout)
        assert found["people"]
        assert all(len(person["labels"]) == expected for person in found["people"])


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--out", "a.csv"]])
def test_the_note_about_the_shipped_weights_comes_once(
    arguments: list[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped_weights, "_SHIPPED", {})
    result = run(folder, *arguments)
    beside_json = result.stderr + (result.stdout if "--json" not in arguments else "")
    assert beside_json.count("The weights that come with dsct were trained on synthetic scenes.") == 1
    assert caplog.text == ""
    assert "note: " not in run(folder, *arguments, "--quiet").stderr
