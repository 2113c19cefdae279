"""EMOTIC in its three forms: what is read, what is left out, what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsct
from dsct.config import EMOTIC_CLASSES
from dsct.data import EmoticDataset, SyntheticDataset
from dsct.data.emotic import decode_category_id, encode_category_id
from tests.data.dataset_files import (
    coco_content,
    emotic_labels,
    emotic_name,
    record,
    save_images,
    save_scenes,
    write_emotic_json,
    write_json,
)
from tests.data.emotic_forms import TWO_IMAGES, assert_same, read, told_of_size

forms = pytest.mark.parametrize("form", ["json", "csv", "mat"])


class TestCategoryId:
    @given(st.lists(st.sampled_from([0, 1]), min_size=26, max_size=26))
    def test_round_trip_of_labels(self, labels: list[int]) -> None:
        assert decode_category_id(encode_category_id(labels)).tolist() == labels

    @given(st.integers(0, 2**26 - 1))
    def test_round_trip_of_numbers(self, number: int) -> None:
        labels = decode_category_id(number)
        assert encode_category_id(labels) == number
        assert labels.tolist() == [int(bit) for bit in f"{number:026b}"], "the first class is the first binary digit"

    def test_first_class_is_the_most_significant_bit(self) -> None:
        assert EMOTIC_CLASSES[0] == "Affection"
        assert decode_category_id(2**25).tolist() == [1] + [0] * 25
        assert decode_category_id(1).tolist() == [0] * 25 + [1]

    @pytest.mark.parametrize("number", [-1, 2**26, 10**30])
    def test_out_of_range(self, number: int) -> None:
        with pytest.raises(ValueError, match=rf"category_id must be in 0..67108863, 26 bits, got {number}"):
            decode_category_id(number)

    @pytest.mark.parametrize("labels", [[1] * 25, [2] * 26, [[1] * 26], [0.5] * 26])
    def test_labels_that_are_not_26_bits(self, labels: Any) -> None:
        with pytest.raises(ValueError, match="labels must be 26 of 0 and 1"):
            encode_category_id(labels)


@forms
class TestEveryForm:
    def test_what_is_written_is_read(self, form: str, tmp_path: Path) -> None:
        data = read(form, tmp_path, TWO_IMAGES)
        assert_same(data, TWO_IMAGES)
        assert (data.split, data.multi_label, data.class_names) == ("val", True, EMOTIC_CLASSES)
        assert (data.skipped, data.mended) == ({}, told_of_size(form))

    def test_sizes_come_from_the_image_files(self, form: str, tmp_path: Path) -> None:
        save_images(TWO_IMAGES, tmp_path)
        assert_same(read(form, tmp_path, TWO_IMAGES, tmp_path), TWO_IMAGES, tmp_path)

    def test_scenes_with_images(self, form: str, tmp_path: Path) -> None:
        scenes = SyntheticDataset("val", size=6, multi_label=True, image_size=(64, 48))
        records = save_scenes(scenes, tmp_path, emotic_name("val"))
        data = read(form, tmp_path, records, tmp_path)
        assert_same(data, records, tmp_path)
        for index in range(len(scenes)):
            image, target = data[index]
            np.testing.assert_array_equal(np.asarray(image), scenes[index][0].permute(1, 2, 0).numpy())
            assert target["image_id"] == emotic_name("val")(index, records[index])

    def test_boxes_are_cut_at_the_image_and_degenerate_ones_left_out(self, form: str, tmp_path: Path) -> None:
        labels = emotic_labels(["Fear"], ["Pain"], ["Peace"], ["Anger"])
        wild = record("emodb_small/images/w.png", [[0, 0, 9, 9]] * 4, labels, (90, 60))
        wild.boxes[:] = [[-5, -1, 100, 70], [20, 20, 20, 40], [95, 5, 120, 9], [80, 50, 90, 60]]
        data = read(form, tmp_path, [wild])
        assert data.annotations(0).boxes.tolist() == [[0, 0, 90, 60], [80, 50, 90, 60]]
        np.testing.assert_array_equal(data.annotations(0).labels, labels[[0, 3]])
        assert data.skipped == {"degenerate box": 2}
        assert data.mended == {"box clipped": 1, **told_of_size(form)}

    def test_people_without_labels_and_what_is_left_of_their_images(self, form: str, tmp_path: Path) -> None:
        nobody = record("mscoco/images/n.png", [[1, 1, 9, 9]], emotic_labels([]))
        half = record("mscoco/images/h.png", [[1, 1, 9, 9], [2, 2, 8, 8]], emotic_labels([], ["Pain"]))
        data = read(form, tmp_path, [nobody, half])
        assert len(data) == 1
        assert data.annotations(0).boxes.tolist() == [[2, 2, 8, 8]]
        assert data.skipped == {"image without usable person": 1, "person without labels": 2}

    def test_missing_and_damaged_images(self, form: str, tmp_path: Path) -> None:
        save_images(TWO_IMAGES[:1], tmp_path)
        broken = record("mscoco/images/broken.png", [[1, 1, 9, 9]], emotic_labels(["Pain"]))
        (tmp_path / "mscoco/images/broken.png").write_bytes(b"no image")
        data = read(form, tmp_path, [*TWO_IMAGES, broken], tmp_path)
        assert_same(data, TWO_IMAGES[:1], tmp_path)
        assert data.skipped == {"missing image": 1, "unreadable image": 1}
        assert data.examples == {
            "missing image": ("emodb_small/images/b.png",), "unreadable image": ("mscoco/images/broken.png",)
        }  # fmt: skip

    def test_nothing_left(self, form: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"with images in .*: no image is left of 2; missing image: 2"):
            read(form, tmp_path, TWO_IMAGES, tmp_path)

    def test_duplicates_are_kept(self, form: str, tmp_path: Path) -> None:
        twice = record("mscoco/images/a.png", [[1, 1, 9, 9]] * 2, emotic_labels(["Fear"], ["Pain"]))
        assert_same(read(form, tmp_path, [twice]), [twice])

    def test_goes_to_worker_processes(self, form: str, tmp_path: Path) -> None:
        assert_same(pickle.loads(pickle.dumps(read(form, tmp_path, TWO_IMAGES))), TWO_IMAGES)

    def test_missing_file(self, form: str, tmp_path: Path) -> None:
        reader = {"json": "from_coco_json", "csv": "from_csv", "mat": "from_mat"}[form]
        with pytest.raises(FileNotFoundError, match="nowhere"):
            getattr(EmoticDataset, reader)(tmp_path / "nowhere")


class TestJson:
    def test_reached_from_the_package(self) -> None:
        assert dsct.data.emotic.EmoticDataset is EmoticDataset

    def test_source_says_what_it_is(self, tmp_path: Path) -> None:
        source = read("json", tmp_path, TWO_IMAGES).source
        assert source == "emotic_val_bi.json, head boxes, union of the annotators' labels"

    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("emotic_train_bi.json", "train"),
            ("EMOTIC_Test.json", "test"),
            ("mine.json", "mine"),
            ("trainval.json", "trainval"),
        ],
    )
    def test_split_from_the_name(self, name: str, split: str, tmp_path: Path) -> None:
        path = write_emotic_json(tmp_path / name, TWO_IMAGES)
        assert EmoticDataset.from_coco_json(path).split == split
        assert EmoticDataset.from_coco_json(path, split="test").split == "test"

    def test_images_without_people_are_kept(self, tmp_path: Path) -> None:
        empty = record("mscoco/images/e.png", np.zeros((0, 4)), np.zeros((0, 26)))
        data = read("json", tmp_path, [empty])
        assert (data.annotations(0).boxes.shape, data.annotations(0).labels.shape) == ((0, 4), (0, 26))

    def test_image_of_another_size_does_not_belong_to_the_boxes(self, tmp_path: Path) -> None:
        save_images([TWO_IMAGES[0], record(str(TWO_IMAGES[1].image_path), [], np.zeros((0, 26)), (300, 450))], tmp_path)
        data = read("json", tmp_path, TWO_IMAGES, tmp_path)
        assert len(data) == 1
        assert data.skipped == {"image of another size": 1}

    @pytest.mark.parametrize("category_id", [2**26, -1, 1.5, "1", None, True])
    def test_bad_category_id_names_the_annotation(self, category_id: Any, tmp_path: Path) -> None:
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content["annotations"][2]["category_id"] = category_id
        path = write_json(tmp_path / "train.json", content)
        data = EmoticDataset.from_coco_json(path)
        assert data.skipped == {"unknown category": 1}
        assert data.examples["unknown category"][0].startswith("annotations[2] (id 2): category_id must be")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"images": [', "not JSON"),
            ("[]", "a COCO file must hold one object, got list"),
            ('{"images": []}', "annotations must be a list of objects"),
            ('{"images": [3], "annotations": []}', "images must be a list of objects"),
            ('{"images": [], "annotations": []}', "the file must hold images and the people in them, got no images"),
            ("\udcff".encode(errors="surrogateescape"), "not JSON"),
        ],
    )
    def test_not_coco(self, text: str | bytes, message: str, tmp_path: Path) -> None:
        path = tmp_path / "emotic_val_bi.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ValueError, match=rf"emotic_val_bi.json: {message}"):
            EmoticDataset.from_coco_json(path)

    @pytest.mark.parametrize(
        ("key", "number", "change", "message"),
        [
            ("images", 1, {"file_name": None}, "file_name must be text, got None"),
            ("images", 0, {"id": [1]}, "id must be a number or text"),
            ("annotations", 1, {"image_id": 77}, "no image has the image_id 77"),
            ("annotations", 1, {"bbox": [1, 2, 3]}, "bbox must be 4 numbers"),
            ("annotations", 1, {"bbox": [1, 2, 3, "4"]}, "bbox must be 4 numbers"),
            ("annotations", 1, {"bbox": [1, 2, 3, 10**400]}, "bbox must fit into a float"),
        ],
    )
    def test_malformed(self, key: str, number: int, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        """One entry is left out and named; where all are so, the file is refused."""
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content[key][number].update(change)
        data = EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))
        (example,) = (one for examples in data.examples.values() for one in examples if message in one)
        assert example.startswith(f"{key}[{number}] (id ")
        content[key] = [content[key][number]]
        with pytest.raises(ValueError, match=rf"no (image|annotation) can be used, the first: {key}\[0\] .*{message}"):
            EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))

    @pytest.mark.parametrize("change", [{"width": 0}, {"height": "300"}, {"height": None}])
    def test_size_that_is_none_is_guessed_from_the_boxes(self, change: dict[str, Any], tmp_path: Path) -> None:
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content["images"][1].update(change)
        data = EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))
        assert data.mended == {"size guessed from the boxes": 1}

    def test_two_images_of_one_id(self, tmp_path: Path) -> None:
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content["images"][1]["id"] = 1
        with pytest.raises(ValueError, match=r"images\[1\] \(id 1\): id occurs twice, for .*a.png and .*b.png"):
            EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("position", range(4))
    def test_box_that_is_not_finite(self, position: int, value: float, tmp_path: Path) -> None:
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content["annotations"][1]["bbox"][position] = value
        data = EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))
        assert data.annotations(1).boxes.tolist() == [[100, 5, 450, 300]]
        assert data.skipped == {"degenerate box": 1}
