"""Any data set written as COCO JSON and read again is the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dsct.cli import app
from dsct.config import CAER_S_CLASSES
from dsct.data import AnnotatedDataset, open_split
from dsct.data.conversion import convert
from dsct.data.folders import DataFolder
from tests.data.annotation_tools.exports import save_image, write
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_emotic_json,
    write_mat,
)

EMOTIC = [
    record(
        "mscoco/images/a.png", [[10.1, 20.3, 50.7, 80], [0, 0, 3, 3]], emotic_labels(["Affection"], ["Fear", "Pain"])
    ),
    record("emodb_small/images/b.png", [[100, 5, 450, 300]], emotic_labels(["Peace", "Yearning"]), (450, 300)),
]
OWN = [record(f"x/{n}.png", [[0.1, 1 / 3, 20 + n, 30.7]], [n % 2], (100 + n, 80)) for n in range(14)] + [
    record("nobody.png", [], np.zeros(0, np.int64), (100, 80))
]


def assert_equal(found: AnnotatedDataset, expected: AnnotatedDataset) -> None:
    """As data sets, with what is known about people and with the pixels."""
    assert (found.fingerprint, found.class_names) == (expected.fingerprint, expected.class_names)
    assert found.skipped == {} == found.mended
    for index in range(len(expected)):
        one, other = found.annotations(index), expected.annotations(index)
        assert one.attributes == other.attributes
        assert (one.continuous is None) == (other.continuous is None)
        if one.continuous is not None and other.continuous is not None:
            np.testing.assert_array_equal(one.continuous, other.continuous)
        assert np.asarray(found[index][0]).tobytes() == np.asarray(expected[index][0]).tobytes()


@pytest.mark.parametrize("form", ["json", "mat", "csv"])
def test_emotic(form: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    save_images(EMOTIC, source)
    for split in ("train", "val"):
        if form == "json":
            write_emotic_json(source / f"emotic_{split}_bi.json", EMOTIC)
        elif form == "csv":
            write_emotic_csv(source / f"{split}.csv", EMOTIC)
    if form == "mat":
        write_mat(source / "Annotations.mat", {"train": EMOTIC, "val": EMOTIC, "test": EMOTIC})
    written = convert(source, tmp_path / "coco", name="emotic")
    assert [one.path.name for one in written] == [f"{one}.json" for one in ("train", "val", "test")[: len(written)]]
    opened = DataFolder("coco", tmp_path / "coco", multi_label=True)
    for split in ("train", "val"):
        expected = open_split("emotic", source, split)
        assert_equal(opened.open(split), expected)
        assert (expected.annotations(0).continuous is None) == (form == "json")


def test_caer_s_with_its_validation_part(tmp_path: Path) -> None:
    names = [f"train/{CAER_S_CLASSES[n % 7]}/{n:04d}.png" for n in range(30)]
    records = [record(name, [[10, 20, 50, 60]], [n % 7], (712, 400)) for n, name in enumerate(names)]
    save_images(records, tmp_path / "source")
    write_caer_s_text(tmp_path / "source/train.txt", records)
    convert(tmp_path / "source", tmp_path / "coco")
    for split in ("train", "val"):
        expected = open_split("caer-s", tmp_path / "source", split)
        assert_equal(open_split("coco", tmp_path / "coco", split), expected)


@pytest.mark.parametrize("form", ["json", "csv", "one file"])
def test_own_data(form: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    save_images(OWN, source)
    if form == "json":
        write_coco_json(source / "train.json", OWN[:4], ("calm", "happy"))
        write_coco_json(source / "test.json", OWN[4:], ("calm", "happy"))
    elif form == "csv":
        write_csv(source / "train.csv", OWN[:4], ("calm", "happy"))
        write_csv(source / "test.csv", OWN[4:], ("calm", "happy"))
    else:
        write_csv(source / "annotations.csv", OWN, ("calm", "happy"))
    written = convert(source, tmp_path / "coco", name="coco")
    assert [one.path.name for one in written] == (
        ["annotations.json"] if form == "one file" else ["train.json", "test.json"]
    )
    for split in ("train", "val") if form == "one file" else ("train", "test"):
        assert_equal(open_split("coco", tmp_path / "coco", split), open_split("coco", source, split))


def via(*people: tuple[dict[str, Any], dict[str, Any]], name: str = "a.png") -> dict[str, Any]:
    regions = [{"shape_attributes": {"name": "rect", **box}, "region_attributes": said} for box, said in people]
    return {name: {"filename": name, "regions": regions}}


PERSON = {"x": 1.5, "y": 2, "width": 30, "height": 40}


def test_an_export_with_several_labels(tmp_path: Path) -> None:
    said = {"emotion": {"calm": True, "sad": True}, "age": "adult", "valence": "3.5"}
    content = via((PERSON, said), (PERSON | {"x": 50}, {"emotion": "calm"})) | via(name="b.png")
    for name in "ab":
        save_image(tmp_path / f"{name}.png")
    source = write(tmp_path / "via.json", content)
    with pytest.raises(ValueError, match=r"a.png: a person has the labels calm, sad; .*--multi-label"):
        convert(source, tmp_path / "coco")
    (written,) = convert(source, tmp_path / "coco", multi_label=True)
    assert (written.path, written.linked + written.copied) == (tmp_path / "coco/annotations.json", 2)
    expected = open_split("coco", tmp_path, "train", annotations=source, multi_label=True, val_fraction=0)
    found = open_split("coco", tmp_path / "coco", "train", multi_label=True, val_fraction=0)
    assert_equal(found, expected)
    assert found.annotations(0).attributes == {"age": ("adult", "")}
    np.testing.assert_array_equal(found.annotations(0).continuous, [[3.5, np.nan, np.nan], [np.nan] * 3])


def yolo(folder: Path) -> Path:
    for split, label in (("train", 0), ("valid", 1)):
        save_image(folder / split / "images/a.png")
        write(folder / split / "labels/a.txt", f"{label} 0.25 0.5 0.2 0.4\n")
    return write(folder / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [calm, happy, sad]\n")


def test_splits_of_an_export(tmp_path: Path) -> None:
    yolo(tmp_path / "source")
    written = convert(tmp_path / "source", tmp_path / "coco")
    assert [one.path.name for one in written] == ["train.json", "val.json"]
    assert (tmp_path / "coco/images/val/valid/images/a.png").is_file()
    for split in ("train", "val"):
        expected = open_split("coco", tmp_path / "source", split)
        assert expected.class_names == ("calm", "happy", "sad")
        assert_equal(open_split("coco", tmp_path / "coco", split), expected)


class TestImages:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        save_image(tmp_path / "source/a.png")
        return write(tmp_path / "source/via.json", via((PERSON, {"emotion": "calm"})))

    def test_link_copy_or_none(self, source: Path, tmp_path: Path) -> None:
        original = tmp_path / "source/a.png"
        for images in ("link", "copy"):
            (written,) = convert(source, tmp_path / images, images=images)
            target = tmp_path / images / "images/a.png"
            assert target.samefile(original) == (images == "link") == bool(written.linked)
        convert(source, tmp_path / "none", images="none")
        assert os.listdir(tmp_path / "none") == ["annotations.json"]
        data = open_split(
            "coco", tmp_path / "source", "train", annotations=tmp_path / "none/annotations.json", val_fraction=0
        )
        assert len(data) == 1

    def test_name_that_leads_out_of_the_folder(self, tmp_path: Path) -> None:
        image = save_image(tmp_path / "elsewhere/b.png")
        for number, written in enumerate((str(image), "../elsewhere/b.png")):
            csv = write(tmp_path / f"source/{number}.csv", f"path,x1,y1,x2,y2,label\n{written},1,2,30,40,calm\n")
            convert(csv, tmp_path / f"coco{number}")
            assert len(open_split("coco", tmp_path / f"coco{number}", "train", val_fraction=0)) == 1
            assert all(
                path.is_relative_to(tmp_path / f"coco{number}") for path in (tmp_path / f"coco{number}").rglob("*.png")
            )

    def test_nothing_is_overwritten(self, source: Path, tmp_path: Path) -> None:
        convert(source, tmp_path / "coco")
        before = (tmp_path / "coco/annotations.json").read_bytes()
        with pytest.raises(FileExistsError, match=r"coco is there already; .*--force"):
            convert(source, tmp_path / "coco")
        assert (tmp_path / "coco/annotations.json").read_bytes() == before
        convert(source, tmp_path / "coco", overwrite=True)
        assert (tmp_path / "coco/annotations.json").read_bytes() == before

    def test_one_file(self, source: Path, tmp_path: Path) -> None:
        (written,) = convert(source, tmp_path / "out/people.json")
        data = open_split("coco", tmp_path / "out", "train", annotations="people.json", val_fraction=0)
        assert (written.path.name, len(data)) == ("people.json", 1)
        yolo(tmp_path / "yolo")
        with pytest.raises(ValueError, match=r"must be a folder for the parts train, val of"):
            convert(tmp_path / "yolo", tmp_path / "out/all.json")

    def test_a_failure_leaves_no_file(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space left"):
            convert(source, tmp_path / "coco")
        assert not list((tmp_path / "coco").glob("*json*"))


def run(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["data", "convert", *map(str, arguments)])
    return found.exit_code, found.output


class TestCommand:
    def test_counts_and_next_step(self, tmp_path: Path) -> None:
        save_image(tmp_path / "a.png")
        point = {"shape_attributes": {"name": "point", "cx": 1, "cy": 1}, "region_attributes": {}}
        content = via((PERSON | {"x": -5}, {"emotion": {"calm": True, "sad": True}}))
        content["a.png"]["regions"].append(point)
        code, output = run(write(tmp_path / "via.json", content), tmp_path / "coco", "--multi-label")
        assert code == 0
        assert "left out: 1 x region that is no box: point; mended: 1 x box clipped" in output
        assert f"wrote {tmp_path / 'coco/annotations.json'}, 1 image linked" in output
        assert "--name coco --multi-label" in output

    def test_split_of_an_undivided_source(self, tmp_path: Path) -> None:
        save_image(tmp_path / "a.png")
        source = write(tmp_path / "via.json", via((PERSON, {"emotion": "calm"})))
        assert run(source, tmp_path / "coco", "--split", "test")[0] == 0
        assert len(open_split("coco", tmp_path / "coco", "test")) == 1
        code, output = run(source, tmp_path / "other", "--split", "test", "--split", "val")
        assert (code, "is not divided into splits: give one" in output) == (1, True)

    def test_one_split_of_several(self, tmp_path: Path) -> None:
        yolo(tmp_path / "source")
        assert run(tmp_path / "source/data.yaml", tmp_path / "coco", "--split", "val")[0] == 0
        assert [path.name for path in (tmp_path / "coco").glob("*.json")] == ["val.json"]
        code, output = run(tmp_path / "source", tmp_path / "other", "--split", "test")
        assert (code, "has no split test; there is train, val" in output) == (1, True)

    @pytest.mark.parametrize(
        ("content", "message"),
        [("[]", "other forms that are read: Label Studio JSON, CVAT XML"), ("{", "not JSON")],
    )
    def test_no_form_that_is_read(self, content: str, message: str, tmp_path: Path) -> None:
        code, output = run(write(tmp_path / "a.json", content), tmp_path / "coco")
        assert (code, message in output, "Traceback" in output) == (1, True, False)

    def test_missing_source(self, tmp_path: Path) -> None:
        code, output = run(tmp_path / "a.json", tmp_path / "coco")
        assert (code, "source must be a file or folder, there is none at" in output) == (1, True)


def test_what_is_written(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    source = write(tmp_path / "via.json", via((PERSON, {"emotion": "calm", "valence": 3, "gender": "female"})))
    (written,) = convert(source, tmp_path / "coco", multi_label=True)
    content = json.loads(written.path.read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}]
    assert content["categories"] == [{"id": 1, "name": "calm"}]
    assert content["annotations"] == [
        {
            **{"id": 1, "image_id": 1, "category_id": 1, "category_ids": [1], "bbox": [1.5, 2, 30, 40]},
            **{"area": 1200, "iscrowd": 0, "continuous": [3, None, None], "person": {"gender": "female"}},
        }
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"continuous": [1, 2]}, "continuous must be 3 numbers"),
        ({"continuous": [1, 2, "high"]}, "continuous must be 3 numbers"),
        ({"person": {"age": 3}}, "person must be an object of texts"),
    ],
)
def test_malformed_knowledge_about_people_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_coco_json(tmp_path / "train.json", OWN[:1], ("calm", "happy"))
    content = json.loads(path.read_text())
    content["annotations"][0] |= change
    save_images(OWN[:1], tmp_path)
    with pytest.raises(ValueError, match=message):
        open_split("coco", tmp_path, "train", annotations=write(path, content), val_fraction=0)
