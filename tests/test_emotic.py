"""EMOTIC in its three forms: what is read, what is left out, what is refused."""

from __future__ import annotations

import builtins
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

import dsct
from dsct.config import EMOTIC_CLASSES
from dsct.data import AnnotatedDataset, Annotations, EmoticDataset, SyntheticDataset
from dsct.data.emotic import decode_category_id, encode_category_id
from tests.dataset_files import (
    EMOTIC_COLUMNS,
    coco_content,
    emotic_labels,
    emotic_name,
    mat_cell,
    mat_person,
    mat_structs,
    record,
    save_images,
    save_scenes,
    write_emotic_csv,
    write_emotic_json,
    write_json,
    write_mat,
    write_rows,
)

TWO_IMAGES = [
    record("mscoco/images/a.png", [[10, 20, 50, 80]], emotic_labels(["Affection"])),
    record(
        "emodb_small/images/b.png",
        [[0, 0, 30, 40], [100, 5, 450, 300]],
        emotic_labels(["Peace", "Yearning"], ["Doubt/Confusion"]),
        (450, 300),
    ),
]


def read(form: str, folder: Path, records: list[Annotations], image_root: Path | None = None) -> EmoticDataset:
    """Writes and reads validation data."""
    if form == "json":
        return EmoticDataset.from_coco_json(write_emotic_json(folder / "emotic_val_bi.json", records), image_root)
    if form == "csv":
        return EmoticDataset.from_csv(write_emotic_csv(folder / "val.csv", records), image_root)
    return EmoticDataset.from_mat(write_mat(folder / "Annotations.mat", {"val": records}), image_root, "val")


def assert_same(data: AnnotatedDataset, records: list[Annotations], root: Path | None = None) -> None:
    assert len(data) == len(records)
    for index, expected in enumerate(records):
        found = data.annotations(index)
        assert expected.image_path is not None
        assert found.image_path == (expected.image_path if root is None else root / expected.image_path)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert found.size == expected.size


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
        assert data.skipped == {}

    def test_sizes_come_from_the_image_files(self, form: str, tmp_path: Path) -> None:
        save_images(TWO_IMAGES, tmp_path)
        assert_same(read(form, tmp_path, TWO_IMAGES, tmp_path), TWO_IMAGES, tmp_path)

    def test_scenes_with_pictures(self, form: str, tmp_path: Path) -> None:
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
        assert data.skipped == {"box clipped": 1, "degenerate box": 2}

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
        (tmp_path / "mscoco/images/broken.png").write_bytes(b"no picture")
        data = read(form, tmp_path, [*TWO_IMAGES, broken], tmp_path)
        assert_same(data, TWO_IMAGES[:1], tmp_path)
        assert data.skipped == {"missing image": 1, "unreadable image": 1}

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
        assert source == "emotic_val_bi.json, head boxes, labels united over annotators"

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
        with pytest.raises(ValueError, match=r"train.json: annotations\[2\] \(id 2\): category_id must be"):
            EmoticDataset.from_coco_json(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"images": [', "not a JSON file"),
            ("[]", "a COCO file must hold one object, got list"),
            ('{"images": []}', "annotations must be a list of objects"),
            ('{"images": [3], "annotations": []}', "images must be a list of objects"),
            ('{"images": [], "annotations": []}', "no image is left of 0; nothing was left out"),
            ("\udcff".encode(errors="surrogateescape"), "not a JSON file"),
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
            ("images", 1, {"file_name": None}, r"images\[1\] \(id 2\): file_name must be text, got None"),
            ("images", 1, {"width": 0}, "width and height must be positive integers, got 0 and 300"),
            ("images", 1, {"height": "300"}, "width and height must be positive integers"),
            ("images", 1, {"id": 1}, r"images\[1\] \(id 1\): id occurs twice"),
            ("images", 0, {"id": [1]}, "id must be a number or text"),
            ("annotations", 1, {"image_id": 77}, r"annotations\[1\] \(id 1\): no image has the image_id 77"),
            ("annotations", 1, {"bbox": [1, 2, 3]}, r"annotations\[1\] \(id 1\): bbox must be 4 numbers"),
            ("annotations", 1, {"bbox": [1, 2, 3, "4"]}, "bbox must be 4 numbers"),
            ("annotations", 1, {"bbox": [1, 2, 3, 10**400]}, "bbox must fit into a float"),
        ],
    )
    def test_malformed(self, key: str, number: int, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content[key][number].update(change)
        with pytest.raises(ValueError, match=message):
            EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("position", range(4))
    def test_box_that_is_not_finite(self, position: int, value: float, tmp_path: Path) -> None:
        content = coco_content(TWO_IMAGES, lambda _: {"category_id": 1})
        content["annotations"][1]["bbox"][position] = value
        data = EmoticDataset.from_coco_json(write_json(tmp_path / "train.json", content))
        assert data.annotations(1).boxes.tolist() == [[100, 5, 450, 300]]
        assert data.skipped == {"degenerate box": 1}


class TestMat:
    def test_union_takes_what_one_annotator_says(self, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "a.mat", {"test": TWO_IMAGES}, whim="Surprise")
        assert_same(EmoticDataset.from_mat(path, split="test"), TWO_IMAGES)
        united = EmoticDataset.from_mat(path, split="test", labels="union")
        surprise = EMOTIC_CLASSES.index("Surprise")
        for index, expected in enumerate(TWO_IMAGES):
            labels = united.annotations(index).labels
            assert (labels[:, surprise] == 1).all()
            np.testing.assert_array_equal(np.delete(labels, surprise, 1), np.delete(expected.labels, surprise, 1))
        assert united.source == "a.mat, body boxes, labels united over annotators, image sizes guessed"

    @pytest.mark.parametrize("labels", ["combined", "union"])
    def test_training_has_one_annotator(self, labels: str, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "a.mat", {"train": TWO_IMAGES, "val": TWO_IMAGES[:1]})
        assert_same(EmoticDataset.from_mat(path, labels=labels), TWO_IMAGES)
        assert_same(EmoticDataset.from_mat(path, split="val", labels=labels), TWO_IMAGES[:1])

    def test_one_image_one_person_one_category(self, tmp_path: Path) -> None:
        """Where MATLAB's arrays of one element tempt readers to take them for the element."""
        assert_same(read("mat", tmp_path, TWO_IMAGES[:1]), TWO_IMAGES[:1])
        path = write_mat(tmp_path / "one.mat", {"train": TWO_IMAGES[:1]})
        assert_same(EmoticDataset.from_mat(path), TWO_IMAGES[:1])

    def test_category_as_bare_text(self, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=True)
        person["combined_categories"] = "Fear"
        data = EmoticDataset.from_mat(mat_file(tmp_path, [person]), split="val")
        np.testing.assert_array_equal(data.annotations(0).labels, emotic_labels(["Fear"]))

    def test_people_without_annotators(self, tmp_path: Path) -> None:
        person, other = (mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=False) for _ in range(2))
        other["annotations_categories"] = np.empty((0, 0))
        data = EmoticDataset.from_mat(mat_file(tmp_path, [other, person]), split="val")
        assert len(data.annotations(0)) == 1
        assert data.skipped == {"person without labels": 1}

    def test_several_annotators_without_combined_categories(self, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear", "Pain"])[0], None, several=True)
        del person["combined_categories"]
        path = mat_file(tmp_path, [person])
        with pytest.raises(
            ValueError, match=r"val\(1\): combined_categories is missing for 2 annotators; use labels='un"
        ):
            EmoticDataset.from_mat(path, split="val")
        assert len(EmoticDataset.from_mat(path, split="val", labels="union")) == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"combined_categories": mat_cell(["Joy"])}, r"Annotations.mat: val\(1\): 'Joy' is none of the 26 EMOTIC"),
            ({"body_bbox": np.zeros((1, 3))}, "body_bbox must be 4 numbers"),
            ({"combined_categories": np.ones((1, 2))}, "category names must be text"),
        ],
    )
    def test_malformed_person(self, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=True) | change
        with pytest.raises(ValueError, match=message):
            EmoticDataset.from_mat(mat_file(tmp_path, [person]), split="val")

    def test_person_without_box(self, tmp_path: Path) -> None:
        person = mat_person([1, 1, 9, 9], emotic_labels(["Fear"])[0], None, several=True)
        del person["body_bbox"]
        with pytest.raises(ValueError, match=r"val\(1\): the field body_bbox is missing"):
            EmoticDataset.from_mat(mat_file(tmp_path, [person]), split="val")

    def test_not_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "Annotations.mat"
        path.write_bytes(b"nonsense" * 100)
        with pytest.raises(ValueError, match=r"Annotations.mat: not a MATLAB 5 file"):
            EmoticDataset.from_mat(path)
        savemat(path, {"train": np.ones(3)})
        with pytest.raises(ValueError, match="there is no variable 'val'"):
            EmoticDataset.from_mat(path, split="val")
        with pytest.raises(ValueError, match="train must be a struct array, the fields filename, folder"):
            EmoticDataset.from_mat(path)

    def test_truncated_file(self, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "Annotations.mat", {"train": TWO_IMAGES})
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(ValueError, match=r"Annotations.mat: not a MATLAB 5 file"):
            EmoticDataset.from_mat(path)

    @pytest.mark.parametrize(("name", "value"), [("split", "validation"), ("labels", "mean")])
    def test_unknown_choice(self, name: str, value: str, tmp_path: Path) -> None:
        path = write_mat(tmp_path / "Annotations.mat", {"train": TWO_IMAGES})
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{value}'"):
            EmoticDataset.from_mat(path, **{name: value})

    def test_without_scipy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def missing(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.startswith("scipy"):
                raise ImportError(name)
            return real(name, *args, **kwargs)

        path = write_mat(tmp_path / "Annotations.mat", {"train": TWO_IMAGES})
        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(ImportError, match=r"needs SciPy, which is not installed: pip install scipy"):
            EmoticDataset.from_mat(path)


class TestCsv:
    def test_rows_of_an_image_need_not_follow_each_other(self, tmp_path: Path) -> None:
        one, two = ([name, size] for name, size in (("a.png", "[640, 480]"), ("b.png", "[640, 480]")))
        rows = [[0, "mscoco/images", *one, f"[{x}, 1, 9, 9]", "['Fear']", "[nan]", "", ""] for x in (1, 2)]
        rows.insert(1, [0, "mscoco/images", *two, "[3, 1, 9, 9]", "['Pain']", "", "", ""])
        data = EmoticDataset.from_csv(write_rows(tmp_path / "val.csv", EMOTIC_COLUMNS, rows))
        assert [data.annotations(index).boxes[:, 0].tolist() for index in (0, 1)] == [[1, 2], [3]]

    @pytest.mark.parametrize(
        ("column", "cell", "message"),
        [
            ("BBox", "[1, 2, 3]", "BBox must be a list of 4 numbers"),
            ("BBox", "[1 2 3 4]", "BBox must be a Python list"),
            ("BBox", "__import__('os').getcwd()", "BBox must be a Python list"),
            ("Image Size", "[0, 4]", "the image size must be positive, got 0 and 4"),
            ("Image Size", "[1e999, 4]", "line 3"),
            ("Categorical_Labels", "['Fear', 'Joy']", "'Joy' is none of the 26 EMOTIC classes: Affection, Anger"),
            ("Categorical_Labels", "'Fear'", "Categorical_Labels must be a Python list"),
            ("Categorical_Labels", "[[]]", r"\[\] is none of the 26"),
            ("Filename", "", "Filename must not be empty"),
        ],
    )
    def test_malformed_cell_names_file_and_line(self, column: str, cell: str, message: str, tmp_path: Path) -> None:
        row = [0, "mscoco/images", "a.png", "[640, 480]", "[1, 1, 9, 9]", "['Fear']", "[5, 5, 5]", "Male", "Adult"]
        bad = [cell if name == column else value for name, value in zip(EMOTIC_COLUMNS, row, strict=True)]
        path = write_rows(tmp_path / "train.csv", EMOTIC_COLUMNS, [row, bad])
        with pytest.raises(ValueError, match=rf"train.csv, line 3: .*{message}" if message != "line 3" else message):
            EmoticDataset.from_csv(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: the columns .* are needed, Folder, .* is missing"),
            ("Index,Folder,Filename\n", "line 1: .* Image Size, BBox, Categorical_Labels is missing"),
            (",".join(EMOTIC_COLUMNS) + "\n0,mscoco/images,a.png\n", "line 2: a row must have 9 cells .* got 3"),
            (",".join(EMOTIC_COLUMNS) + '\n0,mscoco/images,"a.png\n', "line 2: unexpected end of data"),
            (",".join(EMOTIC_COLUMNS) + "\n\n", "no image is left of 0"),
        ],
    )
    def test_malformed_file(self, text: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(str(path)) + ".*" + message):
            EmoticDataset.from_csv(path)


def mat_file(folder: Path, persons: list[dict[str, Any]]) -> Path:
    """One validation image with some people, who must have the same fields."""
    image = {
        "filename": "a.png",
        "folder": "mscoco/images",
        "image_size": mat_structs([{"n_col": 640, "n_row": 480}]),
        "person": mat_structs(persons),
    }
    savemat(folder / "Annotations.mat", {"val": mat_structs([image])})
    return folder / "Annotations.mat"
