"""Which classes a file has, and numbers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsct.config import EMOTIC_CLASSES
from dsct.data import CaerSDataset, CocoDataset, open_split
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_caer_s_text,
    write_emotic_json,
    write_json,
    write_rows,
)


def coco(path: Path, used: list[int], *categories: dict[str, Any]) -> Path:
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(len(used))]
    people = [{"id": i, "image_id": i, "category_id": one, "bbox": [1, 2, 30, 40]} for i, one in enumerate(used)]
    save_images([record(f"{i}.png", [], [], (64, 48)) for i in range(len(used))], path.parent)
    return write_json(path, {"images": images, "annotations": people, "categories": list(categories)})


def category(number: int, name: str, above: Any = "emotions") -> dict[str, Any]:
    return {"id": number, "name": name, "supercategory": above}


GROUP = category(0, "emotions", "none")


class TestGroup:
    @pytest.mark.parametrize(
        "categories",
        [
            (GROUP, category(1, "calm"), category(2, "happy")),
            (category(1, "calm"), category(2, "happy"), GROUP),
            (GROUP, {"id": 1, "name": "calm"}, {"id": 2, "name": "happy"}),
            (category(9, "emotions", ""), category(1, "calm"), category(2, "happy")),
            (category(0, "a-set-xyz", "none"), category(1, "calm", "a set"), category(2, "happy", "a set")),
        ],
    )
    def test_is_no_class_and_is_reported(self, categories: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
        data = CocoDataset.from_json(coco(tmp_path / "train.json", [1, 2], *categories), tmp_path)
        assert data.class_names == ("calm", "happy")
        assert [data.annotations(index).labels.tolist() for index in range(2)] == [[0], [1]]
        assert data.mended == {"category that only groups others": 1}
        assert data.examples["category that only groups others"][0] in ("emotions", "a-set-xyz")

    @pytest.mark.parametrize(
        ("used", "categories"),
        [
            ([1], [category(1, "calm", "none"), category(2, "happy", "none")]),
            ([1], [{"id": 1, "name": "calm"}, {"id": 2, "name": "happy"}]),
            ([2], [category(1, "calm"), category(2, "happy")]),
            ([1, 2], [category(1, "calm", "none"), category(2, "happy", "calm")]),
            ([2], [category(1, "calm", "calm"), category(2, "happy", "happy")]),
        ],
    )
    def test_a_class_without_people_stays(
        self, used: list[int], categories: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        data = CocoDataset.from_json(coco(tmp_path / "train.json", used, *categories))
        assert (data.class_names, data.mended) == (("calm", "happy"), {})


class TestBlankNames:
    @pytest.mark.parametrize("name", ["", " ", "\t", None, 3])
    def test_are_refused(self, name: Any, tmp_path: Path) -> None:
        path = coco(tmp_path / "train.json", [1], category(1, "calm"), {"id": 2, "name": name})
        with pytest.raises(ValueError, match=r"train.json: categories\[1\] must have .* a name that is not blank, got"):
            CocoDataset.from_json(path)

    @pytest.mark.parametrize("label", ["", " ", "|", "calm|", " | calm"])
    def test_are_never_a_class_of_a_csv(self, label: str, tmp_path: Path) -> None:
        rows = [["a.png", 1, 2, 30, 40, "calm"], ["a.png", 1, 2, 30, 40, label]]
        path = write_rows(tmp_path / "train.csv", ["path", "x1", "y1", "x2", "y2", "label"], rows)
        data = CocoDataset.from_csv(path, multi_label=True)
        assert (data.class_names, len(data.annotations(0)), sum(data.skipped.values())) == (("calm",), 1, 1)

    @pytest.mark.parametrize("names", [["calm", " "], ["calm", "calm"], "calm", ["calm", 3]])
    def test_are_no_class_names(self, names: Any, tmp_path: Path) -> None:
        path = coco(tmp_path / "train.json", [1], category(1, "calm"))
        with pytest.raises(ValueError, match="class_names must be"):
            CocoDataset.from_json(path, class_names=names)


class TestNumbersByName:
    NAMES = ("calm", "happy", "sad")

    @pytest.mark.parametrize(
        "categories",
        [
            (category(1, "sad"), category(2, "calm"), category(3, "happy")),
            (category(5, "happy"), category(1, "sad")),
            (category(8, "sad"),),
        ],
    )
    def test_whatever_ids_the_file_has(self, categories: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
        coco(tmp_path / "test.json", [one["id"] for one in categories], *categories)
        data = open_split("coco", tmp_path, "test", class_names=self.NAMES)
        assert data.class_names == self.NAMES
        felt = [self.NAMES[data.annotations(index).labels[0]] for index in range(len(data))]
        assert felt == [one["name"] for one in categories]

    def test_a_csv(self, tmp_path: Path) -> None:
        save_images([record("0.png", [], [], (64, 48))], tmp_path)
        rows = [["0.png", 1, 2, 30, 40, "sad"]]
        write_rows(tmp_path / "test.csv", ["path", "x1", "y1", "x2", "y2", "label"], rows)
        assert open_split("coco", tmp_path, "test", class_names=self.NAMES).annotations(0).labels.tolist() == [2]

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_only_a_name_that_is_unknown_is_an_error(self, split: str, tmp_path: Path) -> None:
        coco(tmp_path / f"{split}.json", [1, 2], category(1, "sad"), category(2, "cross"), category(3, "unused"))
        with pytest.raises(ValueError, match="category 'cross' is none of the classes calm, happy, sad"):
            open_split("coco", tmp_path, split, class_names=self.NAMES, val_fraction=0.5)

    def test_emotic(self, tmp_path: Path) -> None:
        people = [record("mscoco/a.png", [[1, 2, 30, 40]], emotic_labels(["Fear", "Pain"]), (64, 48))]
        save_images(people, tmp_path)
        write_emotic_json(tmp_path / "emotic_test_bi.json", people)
        data = open_split("emotic", tmp_path, "test", class_names=EMOTIC_CLASSES[::-1], multi_label=True)
        assert data.class_names == EMOTIC_CLASSES[::-1]
        assert {data.class_names[i] for i in data.annotations(0).labels[0].nonzero()[0]} == {"Fear", "Pain"}
        with pytest.raises(ValueError, match="'Fear' is none of the classes Pain, Peace"):
            open_split("emotic", tmp_path, "test", class_names=["Pain", "Peace"])

    def test_caer_s(self, tmp_path: Path) -> None:
        people = [record("test/Sad/a.png", [[1, 2, 30, 40]], [5], (64, 48))]
        save_images(people, tmp_path)
        write_caer_s_text(tmp_path / "test.txt", people)
        data = open_split("caer-s", tmp_path, "test", class_names=["Neutral", "Sad"])
        assert isinstance(data, CaerSDataset)
        assert data.annotations(0).labels.tolist() == [1]
