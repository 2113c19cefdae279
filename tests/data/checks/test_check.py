"""What the check of a data set finds: everything that was broken on purpose, and nothing in what is whole."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dsct.cli import app
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data import Annotations
from dsct.data.checks.check import check
from dsct.data.checks.findings import MOST_PLACES
from dsct.data.checks.image_files import read_image_file, read_image_files
from dsct.data.checks.summary import class_membership
from tests.data.annotated_stand_in import Records, drawn_on_disk, record
from tests.data.checks.found import find, kinds

EVERY_CLASS = [[i % 2, i, 20 + i, 40 + i] for i in range(len(CAER_S_CLASSES))]


def with_record(data: Records, index: int, **changes: Any) -> Records:
    records = list(data.records)
    records[index] = replace(records[index], **changes)
    return replace(data, records=records)


@pytest.mark.parametrize("multi_label", [False, True])
def test_whole_data_has_no_findings_and_is_counted(tmp_path: Path, multi_label: bool) -> None:
    splits = [drawn_on_disk(tmp_path, name, 5, multi_label) for name in ("train", "val")]
    calls: list[tuple[int, int]] = []
    result = check(splits, on_image=lambda done, total: calls.append((done, total)))
    assert kinds(result) == {}
    assert result.ok
    assert calls == [(i, 10) for i in range(1, 11)]
    train, val = result.summaries
    assert (train.images, val.images, result.whole.images, result.whole.opened) == (5, 5, 10, 10)
    people = [len(one) for data in splits for one in data.records]
    assert result.whole.people == train.people + val.people == sum(people)
    assert sum(result.whole.people_per_image.values()) == 10
    assert result.whole.people_per_image["1"] == people.count(1)
    labels = sum(class_membership(one.labels, len(train.people_per_class)).sum(0) for one in splits[0].records)
    assert list(train.people_per_class.values()) == np.asarray(labels).tolist()
    assert tuple(train.people_per_class) == (EMOTIC_CLASSES if multi_label else CAER_S_CLASSES)
    sides = np.concatenate([one.boxes[:, 2:] - one.boxes[:, :2] for one in splits[0].records])
    assert train.median_box == pytest.approx(np.median(sides, axis=0))
    assert train.smallest_box == pytest.approx(sides[sides.prod(1).argmin()])


def test_missing_and_broken_images_are_errors(tmp_path: Path) -> None:
    data = drawn_on_disk(tmp_path)
    paths = [one.image_path for one in data.records]
    assert paths[1] is not None
    assert paths[2] is not None
    assert paths[3] is not None
    paths[1].unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-300])
    paths[3].write_text("a page that says the image is gone")
    result = check([data])
    assert kinds(result) == {"missing image": 1, "broken image": 2}
    assert not result.ok
    missing, broken = find(result, "missing image"), find(result, "broken image")
    assert (missing.severity, missing.places[0].index, missing.places[0].image) == ("error", 1, str(paths[1]))
    assert [place.index for place in broken.places] == [2, 3]
    assert "truncated" in broken.places[0].detail
    assert broken.places[1].detail == "not an image"


def test_without_decoding_a_truncated_file_passes_and_a_missing_one_does_not(tmp_path: Path) -> None:
    data = drawn_on_disk(tmp_path)
    first, second = data.records[0].image_path, data.records[1].image_path
    assert first is not None
    assert second is not None
    first.write_bytes(first.read_bytes()[:-300])
    second.unlink()
    assert kinds(check([data], decode=False)) == {"missing image": 1}


def test_swapped_and_other_sizes_are_told_apart(tmp_path: Path) -> None:
    data = with_record(drawn_on_disk(tmp_path), 0, size=(120, 160))
    data = with_record(data, 1, size=(320, 240))
    result = check([data])
    assert kinds(result) == {"width and height swapped": 1, "image size differs": 1}
    assert find(result, "width and height swapped").places[0].detail == "record 120 x 160, file 160 x 120"
    assert not result.ok


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_of_the_upright_image(tmp_path: Path, orientation: int, decode: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    upright = (30, 40) if orientation > 4 else (40, 30)
    assert read_image_file(path, decode).size == upright


def test_a_box_is_measured_against_the_file_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.new("RGB", (160, 120)).save(path)
    data = Records([record(path, [0, 0, 159, 119], size=(120, 160))])
    assert kinds(check([data])) == {"width and height swapped": 1}
    assert kinds(check([data], max_images=0)) == {"box leaves the image": 1}


def test_boxes(tmp_path: Path) -> None:
    inside, outside = [0, 0, 160, 120], [161, 0, 170, 20]
    result = check(
        [
            Records(
                [
                    record(None, [inside, [-0.9, 0, 160.9, 120.5]]),  # rounding
                    record(None, [[-5, 0, 20, 20], outside]),
                    record(None, [[10, 10, 10.5, 40], [50, 50, 70, 90], [50, 50, 70, 90], [50, 50, 70, 91]]),
                    record(None, []),
                ]
            )
        ]
    )
    assert kinds(result) == {
        "box leaves the image": 1,
        "box outside the image": 1,
        "degenerate box": 1,
        "duplicate box": 1,
        "overlapping people": 3,
        "image without people": 1,
        "images not on disk": 4,
    }
    assert result.ok
    assert find(result, "box leaves the image").places[0].detail == "person 1: -5 0 20 20 in 160 x 120"
    assert find(result, "duplicate box").places[0].detail == "people 2 and 3"
    assert result.whole.tiny_boxes == 2


def test_labels_must_fit_the_classes() -> None:
    wrong_number = record(None, EVERY_CLASS, np.arange(1, 8))
    result = check([Records([wrong_number])])
    assert find(result, "labels do not fit the classes").places[0].detail == "person 7: class 7, the last is 6"
    assert find(result, "class without people").places[0].detail == CAER_S_CLASSES[0]
    wrong_width = record(None, EVERY_CLASS, np.ones((7, 6)))
    several = check([Records([wrong_width], multi_label=True)])
    assert "expected (n, 7) of 0 and 1, got (7, 6)" in find(several, "labels do not fit the classes").places[0].detail
    assert not result.ok
    assert not several.ok
    one_class_among_several = check([Records([record(None, EVERY_CLASS)], multi_label=True)])
    assert find(one_class_among_several, "labels do not fit the classes").severity == "error"


def test_a_person_without_a_class_is_no_error() -> None:
    labels = np.ones((7, 7), np.int64)
    labels[3] = 0
    result = check([Records([record(None, EVERY_CLASS, labels)], multi_label=True)])
    assert find(result, "person without a class").places[0].detail == "person 4"
    assert result.ok
    assert result.whole.labels_per_person == (0, 6.0, 7)


def test_nothing_and_nobody_are_errors() -> None:
    result = check([Records([], "train"), Records([record(None, [])], "val")])
    assert find(result, "no images").splits == {"train": 1}
    assert find(result, "no people").splits == {"train": 1, "val": 1}
    assert result.whole.median_box == (0.0, 0.0)
    assert not result.ok


def test_splits_of_other_classes_are_an_error() -> None:
    one = [record(None, EVERY_CLASS, np.arange(7))]
    other = [record(None, EVERY_CLASS, np.eye(26, dtype=np.int64)[:7])]
    result = check([Records(one), Records(other, "val", EMOTIC_CLASSES, True)])
    assert find(result, "classes differ between splits").places[0].detail == (
        "26 classes, several classes per person, not those of train"
    )
    assert not result.ok


def test_a_record_that_raises_is_found_and_the_others_are_counted() -> None:
    class Faulty(Records):
        def annotations(self, index: int, /) -> Annotations:
            return record(None, [[5, 5, 5, 9]]) if index == 1 else super().annotations(index)

    result = check([Faulty([record(None, EVERY_CLASS, np.arange(7))] * 3)])
    (place,) = find(result, "record cannot be read").places
    assert place.index == 1
    assert "x2 > x1" in place.detail
    assert result.whole.people == 14
    assert not result.ok


def test_leakage_by_path_and_by_content(tmp_path: Path) -> None:
    train, val = drawn_on_disk(tmp_path, "train"), drawn_on_disk(tmp_path, "val")
    source, copy = train.records[3].image_path, val.records[5].image_path
    assert source is not None
    assert copy is not None
    shutil.copy(source, copy)
    val = with_record(val, 2, image_path=train.records[1].image_path)
    result = check([train, val])
    assert kinds(result) == {"image in more than one split": 1, "same content in more than one split": 1}
    (path,), (content,) = (finding.places for finding in result.findings[:2])
    assert (path.split, path.index, path.detail) == ("val", 2, "also train 1, train_0001.jpg")
    assert (content.split, content.index, content.detail) == ("val", 5, "also train 3, train_0003.jpg")
    assert result.ok
    assert kinds(check([train, val], decode=False)) == {"image in more than one split": 1}


def test_repetitions_within_a_split(tmp_path: Path) -> None:
    data = drawn_on_disk(tmp_path)
    first, third = data.records[0].image_path, data.records[2].image_path
    assert first is not None
    assert third is not None
    shutil.copy(first, third)
    data = with_record(data, 1, image_path=first)
    assert kinds(check([data])) == {"image listed more than once": 1, "same content more than once": 1}


def test_skipped_is_told_with_its_count() -> None:
    data = Records([record(None, EVERY_CLASS, np.arange(7))], skipped={"degenerate box": 12, "missing image": 0})
    finding = find(check([data]), "skipped while reading")
    assert (finding.count, finding.places[0].detail, len(finding.places)) == (12, "degenerate box: 12", 1)


def test_what_was_mended_is_told_apart_from_what_was_lost() -> None:
    result = check([Records([record(None, EVERY_CLASS, np.arange(7))], mended={"box clipped": 2})])
    finding = find(result, "mended while reading")
    assert (finding.severity, finding.places[0].detail) == ("note", "box clipped: 2")


def test_skipped_images_are_named() -> None:
    data = Records(
        [record(None, EVERY_CLASS, np.arange(7))], skipped={"missing image": 9}, examples={"missing image": ("a", "b")}
    )
    assert find(check([data]), "skipped while reading").places[0].detail == "missing image: 9, such as a, b"


def test_places_are_the_first_few_and_the_count_is_complete() -> None:
    result = check([Records([record(None, [])] * 30)])
    finding = find(result, "image without people")
    assert (finding.count, len(finding.places)) == (30, MOST_PLACES)
    assert [place.index for place in finding.places] == list(range(MOST_PLACES))


def test_max_images_opens_a_seeded_choice(tmp_path: Path) -> None:
    splits = [drawn_on_disk(tmp_path, name) for name in ("train", "val")]
    for data in splits:
        for one in data.records:
            assert one.image_path is not None
            one.image_path.unlink()

    def opened(seed: int) -> list[tuple[str, int | None]]:
        result = check(splits, max_images=2, seed=seed)
        assert [summary.opened for summary in result.summaries] == [2, 2]
        return [(place.split, place.index) for place in find(result, "missing image").places]

    assert opened(0) == opened(0)
    assert len({tuple(opened(seed)) for seed in range(5)}) > 1


def test_bad_arguments() -> None:
    one = Records([record(None, [])])
    with pytest.raises(ValueError, match="each of another split"):
        check([one, one])
    with pytest.raises(ValueError, match="splits must be one data set or more"):
        check([])
    with pytest.raises(ValueError, match="max_images must be 0 or more, got -1"):
        check([one], max_images=-1)


def test_an_interrupt_drops_what_waits(tmp_path: Path) -> None:
    data = drawn_on_disk(tmp_path, size=1)
    (path,) = (one.image_path for one in data.records)
    assert path is not None
    done = 0

    def interrupt() -> None:
        nonlocal done
        done += 1
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        read_image_files([path] * 500, workers=1, on_image=interrupt)
    assert done == 1
    assert threading.active_count() == before


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Records]:
    """What the data folder holds, by split; other splits have no annotation file."""
    splits: dict[str, Records] = {}

    class Folder:
        def __init__(self, name: str, folder: Path, **options: Any) -> None:
            self.name, self.folder, self.options = name, folder, options

        def open(self, split: str) -> Records:
            if split not in splits:
                raise FileNotFoundError(f"no annotations of {self.name} {split} in {self.folder}")
            return replace(splits[split], source=f"{self.name} {self.options}")

    monkeypatch.setattr("dsct.cli.data.DataFolder", Folder)
    return splits


def run(*arguments: Any, code: int = 0) -> str:
    call = ["data", "check", *(str(argument) for argument in arguments)]
    result = CliRunner().invoke(app, call, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


def test_command_line(tmp_path: Path, opened: dict[str, Records]) -> None:
    opened.update({name: drawn_on_disk(tmp_path / "data", name) for name in ("train", "val")})
    numbers, sheet = tmp_path / "numbers.json", tmp_path / "sheet.png"
    output = run(tmp_path / "data", "--name", "emotic", "--json", numbers, "--sheet", sheet)
    assert "left out: no annotations of emotic test" in output
    assert "train: emotic {}" in output
    assert "people per class" in output
    told = json.loads(numbers.read_text(encoding="utf-8"))
    assert told["ok"] is True
    assert [summary["split"] for summary in told["summaries"]] == ["train", "val"]
    assert told["whole"]["people"] == sum(len(one) for data in opened.values() for one in data.records)
    with Image.open(sheet) as page:
        assert page.width < 1000

    missing = opened["val"].records[2].image_path
    assert missing is not None
    missing.unlink()
    output = run(tmp_path / "data", "--name", "emotic", "--no-decode", "--json", numbers, code=1)
    assert "val val_0002.jpg no such file" in output
    assert "1 error" in output
    assert json.loads(numbers.read_text(encoding="utf-8"))["findings"][0]["kind"] == "missing image"
    assert "0 (val)" not in run(tmp_path / "data", "--name", "emotic", "--split", "train")


def test_command_line_hands_on_what_the_loader_needs(tmp_path: Path, opened: dict[str, Records]) -> None:
    opened.update({name: drawn_on_disk(tmp_path, name) for name in ("train", "val", "test")})
    output = run(tmp_path, "--name", "emotic", "--annotations", "emotic_val_bi.json")
    assert f"val: emotic {{'annotations': {Path('emotic_val_bi.json')!r}}}" in output
    assert "train: " not in output
    whole = run(tmp_path, "--name", "emotic", "--annotations", "Annotations.mat", "--labels", "union")
    assert whole.count("'labels': 'union'}") == 3
    own = run(tmp_path, "--name", "coco", "--annotations", "faces.json", "--multi-label", "--split", "train")
    assert "'multi_label': True}" in own
    told = run(tmp_path, "--name", "coco", "--annotations", "faces.json", code=1)
    assert "--split must say what faces.json contains" in told
    (tmp_path / "own_train.csv").write_text("path")
    here = run(tmp_path, "--name", "coco", "--annotations", tmp_path / "own_train.csv")
    assert "own_train.csv" in here
    assert "image in more than one split" not in here


def test_command_line_says_what_is_absent(tmp_path: Path, opened: dict[str, Records]) -> None:
    assert "error: no annotations of coco train in" in run(tmp_path, "--name", "coco", code=1)
    opened["train"] = Records([record(None, EVERY_CLASS, np.arange(7))])
    assert "error: no annotations of coco val in" in run(tmp_path, "--name", "coco", "--split", "val", code=1)
    assert "Invalid value" in run(tmp_path, "--name", "imagenet", code=2)


def test_command_line_ends_with_130_on_interrupt(
    tmp_path: Path, opened: dict[str, Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened["train"] = drawn_on_disk(tmp_path)

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dsct.data.checks.opened_records.read_image_files", interrupted)
    assert "interrupted" in run(tmp_path, "--name", "emotic", code=130)


def test_classes_of_nearly_one_name_and_places_seen_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{name}.png,1,2,30,40,{label}" for name, label in zip("abc", ("Calm", "calm", "sad"), strict=True)]
    for number, name in enumerate("abcd"):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "train.csv").write_text("\n".join(["path,x1,y1,x2,y2,label", *rows]))
    (tmp_path / "val.csv").write_text("path,x1,y1,x2,y2,label\nd.png,1,2,30,40,sad\n")
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["data", "check", "."], env={"COLUMNS": "200"}).output
    assert "classes of nearly one name" in said
    assert "train 'Calm', 'calm' count as" in " ".join(said.split())
    assert "val Calm" in said
    assert "val . Calm" not in said
