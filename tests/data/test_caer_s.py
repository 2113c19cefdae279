"""CAER-S: text lines, JSON, the two names of the first class, and the validation data cut from training."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsct
from dsct.config import CAER_S_CLASSES
from dsct.data import Annotations, CaerSDataset, SyntheticDataset
from tests.data.dataset_files import (
    caer_s_name,
    coco_content,
    record,
    save_images,
    save_scenes,
    write_caer_s_text,
    write_coco_json,
    write_json,
)

LINE = "train/Angry/0001.png,0,295,97,394,195"


def faces(split: str = "train", per_class: int = 14, anger: str = "Angry") -> list[Annotations]:
    """One face per frame, classes one after the other."""
    return [
        record(f"{split}/{anger if name == 'Anger' else name}/{number:04d}.png", [[9, 8, 70, 60]], [label], (712, 400))
        for label, name in enumerate(CAER_S_CLASSES)
        for number in range(per_class)
    ]


def text(folder: Path, *lines: str, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_text("\n".join(lines))
    return path


def names(data: CaerSDataset) -> list[str]:
    return [str(data.annotations(index).image_path) for index in range(len(data))]


def test_reached_from_the_package() -> None:
    assert dsct.data.caer_s.CaerSDataset is CaerSDataset


class TestText:
    def test_line(self, tmp_path: Path) -> None:
        data = CaerSDataset.from_text(
            text(tmp_path, LINE, "", " train/Sad/2.png , 5, -27, -90, 30, 40 "), val_fraction=0
        )
        assert names(data) == ["train/Angry/0001.png", "train/Sad/2.png"]
        assert [data.annotations(index).boxes.tolist() for index in (0, 1)] == [[[295, 97, 394, 195]], [[0, 0, 30, 40]]]
        assert [data.annotations(index).labels.tolist() for index in (0, 1)] == [[0], [5]]
        assert (data.skipped, data.mended) == ({}, {"box clipped": 1})
        assert (data.split, data.multi_label, data.class_names) == ("train", False, CAER_S_CLASSES)
        assert data.source == "train.txt, face boxes, image sizes guessed"

    def test_several_lines_of_an_image_need_not_follow_each_other(self, tmp_path: Path) -> None:
        lines = ["test/Sad/1.png,5,1,1,9,9", "test/Sad/2.png,5,1,1,9,9", "test/Sad/1.png,5,20,1,29,9"]
        data = CaerSDataset.from_text(text(tmp_path, *lines, name="test.txt"))
        assert data.annotations(0).boxes.tolist() == [[1, 1, 9, 9], [20, 1, 29, 9]]
        assert len(data) == 2

    def test_size_without_images_is_a_frame_or_what_holds_the_box(self, tmp_path: Path) -> None:
        lines = ["test/Sad/1.png,5,1,1,9,9", "test/Sad/2.png,5,1,1,9,480.5"]
        data = CaerSDataset.from_text(text(tmp_path, *lines, name="test.txt"))
        assert [data.annotations(index).size for index in (0, 1)] == [(712, 400), (712, 481)]
        assert data.skipped == {}

    def test_size_from_the_image(self, tmp_path: Path) -> None:
        save_images([record("test/Sad/1.png", [], np.zeros(0), (50, 40))], tmp_path)
        data = CaerSDataset.from_text(text(tmp_path, "test/Sad/1.png,5,10,10,60,60", name="test.txt"), tmp_path)
        assert data.annotations(0).size == (50, 40)
        assert data.annotations(0).boxes.tolist() == [[10, 10, 50, 40]]
        assert (data.skipped, data.mended) == ({}, {"box clipped": 1})

    def test_class_that_contradicts_the_folder_is_named(self, tmp_path: Path) -> None:
        line = "train/Angry/0002.png,3,1,1,9,9"
        with pytest.raises(ValueError, match=r"train.txt, line 2: .* is 3 \(Happy\), but its folder says Angry"):
            CaerSDataset.from_text(text(tmp_path, LINE, line))

    def test_backslashes(self, tmp_path: Path) -> None:
        data = CaerSDataset.from_text(text(tmp_path, LINE, LINE.replace("/", "\\")), val_fraction=0)
        assert (len(data), len(data.annotations(0))) == (1, 2)
        with pytest.raises(ValueError, match="its folder says Angry"):
            CaerSDataset.from_text(text(tmp_path, "train\\Angry\\0002.png,3,1,1,9,9"))

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("train/Sad/0002.png,7,1,1,9,9", "the class must be in 0..6, got 7"),
            ("train/Sad/0002.png,-1,1,1,9,9", "must be in 0..6, got -1"),
            ("train/Sad/0002.png,5,1,1,9", "a line must be path,class number,x1,y1,x2,y2, got 'train/Sad"),
            ("train/Sad/0002.png,5,1,1,9,9,9", "a line must be path,class number"),
            ("train/Sad/0002.png,Sad,1,1,9,9", "a line must be path,class number"),
            ("train/Sad/0002.png,5,1,1,9,nine", "a line must be path,class number"),
        ],
    )
    def test_bad_line_is_left_out_and_named(self, line: str, message: str, tmp_path: Path) -> None:
        data = CaerSDataset.from_text(text(tmp_path, LINE, line), val_fraction=0)
        assert len(data) == 1
        (reason,) = set(data.skipped) - {"image without usable person"}
        assert data.examples[reason][0].startswith("line 2: ")
        assert message in data.examples[reason][0]
        with pytest.raises(ValueError, match=rf"train.txt: no line can be used, the first: line 1: .*{message}"):
            CaerSDataset.from_text(text(tmp_path, line))

    def test_degenerate_boxes(self, tmp_path: Path) -> None:
        lines = [LINE, "train/Sad/1.png,5,9,9,9,20", "train/Sad/1.png,5,nan,1,9,9", "train/Sad/2.png,5,-9,-9,-1,-1"]
        data = CaerSDataset.from_text(text(tmp_path, *lines), val_fraction=0)
        assert len(data) == 1
        assert data.skipped == {"degenerate box": 3, "image without usable person": 2}

    @pytest.mark.parametrize("content", [b"", b"\n\n"])
    def test_empty(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "test.txt").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"test.txt: the file must hold images and the people in them, got no lines"
        ):
            CaerSDataset.from_text(tmp_path / "test.txt")

    def test_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "test.txt").write_bytes(b"\xff\xfe\xff")
        with pytest.raises(ValueError, match=r"test.txt: not a text file"):
            CaerSDataset.from_text(tmp_path / "test.txt")

    def test_goes_to_worker_processes(self, tmp_path: Path) -> None:
        data = CaerSDataset.from_text(text(tmp_path, LINE), val_fraction=0)
        assert names(pickle.loads(pickle.dumps(data))) == names(data)


class TestImages:
    @pytest.mark.parametrize("on_disk", ["Anger", "Angry"])
    @pytest.mark.parametrize("in_text", ["Anger", "Angry"])
    def test_either_name_of_the_first_class(self, in_text: str, on_disk: str, tmp_path: Path) -> None:
        save_images(faces("test", 1, on_disk), tmp_path)
        path = write_caer_s_text(tmp_path / "test.txt", faces("test", 1, in_text))
        data = CaerSDataset.from_text(path, tmp_path)
        assert len(data) == 7
        assert data[0][1]["image_id"] == f"test/{on_disk}/0000.png"

    @pytest.mark.parametrize("root", ["", "train"])
    @pytest.mark.parametrize("prefix", ["", "train/"])
    def test_with_and_without_the_folder_of_the_split(self, prefix: str, root: str, tmp_path: Path) -> None:
        save_images(faces("train", 1), tmp_path)
        path = text(tmp_path, f"{prefix}Sad/0000.png,5,1,1,9,9")
        data = CaerSDataset.from_text(path, tmp_path / root, val_fraction=0)
        assert data.annotations(0).image_path == tmp_path / "train/Sad/0000.png"

    def test_training_images_are_not_taken_for_test_images(self, tmp_path: Path) -> None:
        save_images(faces("train", 1), tmp_path)
        with pytest.raises(ValueError, match="no image is left of 1; missing image: 1"):
            CaerSDataset.from_text(text(tmp_path, "Sad/0000.png,5,1,1,9,9", name="test.txt"), tmp_path)

    def test_missing_images_are_counted(self, tmp_path: Path) -> None:
        save_images(faces("test", 1)[2:], tmp_path)
        data = CaerSDataset.from_text(write_caer_s_text(tmp_path / "test.txt", faces("test", 1)), tmp_path)
        assert data.skipped == {"missing image": 2}

    def test_scenes_from_text_and_json(self, tmp_path: Path) -> None:
        scenes = SyntheticDataset("test", size=8, image_size=(64, 48))
        records = save_scenes(scenes, tmp_path, caer_s_name("test"))
        from_text = CaerSDataset.from_text(write_caer_s_text(tmp_path / "test.txt", records), tmp_path)
        path = write_coco_json(tmp_path / "caer_test.json", records, CAER_S_CLASSES)
        from_json = CaerSDataset.from_coco_json(path, tmp_path)
        for data in (from_text, from_json):
            for index, expected in enumerate(records):
                image, target = data[index]
                np.testing.assert_array_equal(np.asarray(image), scenes[index][0].permute(1, 2, 0).numpy())
                np.testing.assert_array_equal(target["boxes"], expected.boxes)
                np.testing.assert_array_equal(target["labels"], expected.labels)


class TestJson:
    @pytest.mark.parametrize("category_id", [7, -1, 2.5, "3", None])
    def test_bad_category(self, category_id: Any, tmp_path: Path) -> None:
        content = coco_content(faces("test", 1), lambda label: {"category_id": int(label)})
        content["annotations"][0]["category_id"] = category_id
        data = CaerSDataset.from_coco_json(write_json(tmp_path / "caer_test.json", content))
        assert data.skipped == {"image without usable person": 1, "unknown category": 1}
        del content["annotations"][1:]
        with pytest.raises(ValueError, match=r"caer_test.json: .*(must be in 0..6|must be an integer), got"):
            CaerSDataset.from_coco_json(write_json(tmp_path / "caer_test.json", content))

    def test_class_that_contradicts_the_folder(self, tmp_path: Path) -> None:
        content = coco_content(faces("test", 1), lambda _: {"category_id": 0})
        with pytest.raises(ValueError, match=r"caer_test.json: the class of test/Disgust/0000.png is 0 \(Anger\)"):
            CaerSDataset.from_coco_json(write_json(tmp_path / "caer_test.json", content))


class TestValidationData:
    def test_disjoint_complete_and_stratified(self, tmp_path: Path) -> None:
        path = write_caer_s_text(tmp_path / "train.txt", faces())
        train, val = (CaerSDataset.from_text(path, split=split) for split in ("train", "val"))
        assert not set(names(train)) & set(names(val))
        assert sorted(names(train) + names(val)) == sorted(str(one.image_path) for one in faces())
        counts = Counter(int(val.annotations(index).labels[0]) for index in range(len(val)))
        assert counts == dict.fromkeys(range(7), 2), "a seventh of 14 in every class"
        assert (train.split, val.split) == ("train", "val")
        assert "val part of training data cut with val_fraction 0.143, seed 0" in val.source

    def test_the_file_name_alone_means_the_training_part(self, tmp_path: Path) -> None:
        path = write_caer_s_text(tmp_path / "train.txt", faces())
        assert names(CaerSDataset.from_text(path)) == names(CaerSDataset.from_text(path, split="train"))

    def test_order_of_the_lines_and_form_of_the_file_change_nothing(self, tmp_path: Path) -> None:
        records = faces()
        expected = sorted(
            names(CaerSDataset.from_text(write_caer_s_text(tmp_path / "train.txt", records), split="val"))
        )
        random.Random(0).shuffle(records)
        shuffled = CaerSDataset.from_text(write_caer_s_text(tmp_path / "train.txt", records), split="val")
        assert sorted(names(shuffled)) == expected
        anger = [
            record(
                str(one.image_path).removeprefix("train/").replace("Angry", "Anger"), one.boxes, one.labels, one.size
            )
            for one in records
        ]
        path = write_coco_json(tmp_path / "caer_train.json", anger, CAER_S_CLASSES)
        from_json = names(CaerSDataset.from_coco_json(path, split="val"))
        assert sorted("train/" + name.replace("Anger", "Angry") for name in from_json) == expected

    def test_seed_and_fraction(self, tmp_path: Path) -> None:
        path = write_caer_s_text(tmp_path / "train.txt", faces())
        first, again, other = (set(names(CaerSDataset.from_text(path, split="val", seed=seed))) for seed in (0, 0, 1))
        assert first == again != other
        assert len(CaerSDataset.from_text(path, split="val", val_fraction=0.5)) == 49
        assert len(CaerSDataset.from_text(path, val_fraction=0)) == 98

    @pytest.mark.parametrize("fraction", [-0.1, 1, 0])
    def test_bad_fraction(self, fraction: float, tmp_path: Path) -> None:
        path = write_caer_s_text(tmp_path / "train.txt", faces())
        with pytest.raises(ValueError, match=f"val_fraction must be between 0 and 1, got {fraction}"):
            CaerSDataset.from_text(path, split="val", val_fraction=fraction)

    @pytest.mark.parametrize(
        ("name", "split"), [("test", "val"), ("test", "train"), ("train", "test"), ("val", "train")]
    )
    def test_split_that_is_not_in_the_file(self, name: str, split: str, tmp_path: Path) -> None:
        path = write_caer_s_text(tmp_path / f"{name}.txt", faces("train", 1))
        with pytest.raises(ValueError, match=f"split must be in the file, .*{name}.txt holds '{name}', got '{split}'"):
            CaerSDataset.from_text(path, split=split)

    def test_files_of_another_name(self, tmp_path: Path) -> None:
        path = write_caer_s_text(tmp_path / "faces.txt", faces())
        assert len(CaerSDataset.from_text(path)) == 98
        assert CaerSDataset.from_text(path).split == "faces"
        assert len(CaerSDataset.from_text(path, split="test")) == 98
        assert len(CaerSDataset.from_text(path, split="val")) == 14
