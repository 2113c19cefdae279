"""One bad entry is left out, counted and named; a file in which everything is bad is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsct.data import CaerSDataset, CocoDataset, EmoticDataset, open_split
from tests.data.dataset_files import (
    emotic_labels,
    record,
    save_images,
    write_caer_s_text,
    write_coco_json,
    write_csv,
    write_emotic_csv,
    write_emotic_json,
    write_json,
    write_mat,
)

Change = Callable[[dict[str, Any]], object]
RECORDS = [record(f"{name}.png", [[5, 6, 30, 40]], [0], (64, 48)) for name in "abc"]


def content() -> dict[str, Any]:
    images = [{"id": i, "file_name": f"{name}.png", "width": 64, "height": 48} for i, name in enumerate("abc", 1)]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 6, 25, 34]} for i in (1, 2, 3)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "calm"}]}


def first(key: str, **values: Any) -> Change:
    return lambda coco: coco[key][0].update(values)


def every(key: str, **values: Any) -> Change:
    return lambda coco: [entry.update(values) for entry in coco[key]]


def changed(folder: Path, change: Change) -> Path:
    coco = content()
    change(coco)
    return write_json(folder / "train.json", coco)


@pytest.mark.parametrize(
    "change",
    [
        every("images", width=64.0, height=48.0),
        lambda coco: [entry.update(id=float(entry["id"])) for entry in coco["images"]],
        lambda coco: [entry.update(image_id=float(entry["image_id"])) for entry in coco["annotations"]],
        every("annotations", category_id=1.0),
        every("categories", id=1.0),
        every("categories", id="1"),
        every("annotations", category_id="1"),
    ],
)
def test_whole_numbers_are_numbers(change: Change, tmp_path: Path) -> None:
    data = CocoDataset.from_json(changed(tmp_path, change))
    assert (len(data), data.annotations(0).size, data.skipped, data.mended) == (3, (64, 48), {}, {})


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (every("images", width=None), 3), (first("images", width=None, height=None), 1),
        (lambda coco: [entry.pop("height") for entry in coco["images"]], 3), (first("images", width=0), 1),
        (first("images", width="64"), 1), (first("images", width=-64), 1), (first("images", width=64.5), 1),
        (first("images", width=10**400), 1),
    ],
)  # fmt: skip
def test_sizes_that_the_file_does_not_state(change: Change, count: int, tmp_path: Path) -> None:
    path = changed(tmp_path, change)
    data = CocoDataset.from_json(path)
    assert (len(data), data.mended) == (3, {"size guessed from the boxes": count})
    assert data.annotations(0).size == (30, 40)
    save_images(RECORDS, tmp_path)
    for data in (
        CocoDataset.from_json(path, tmp_path),
        open_split("coco", tmp_path, "train", annotations=path, val_fraction=0),
    ):
        assert {data.annotations(index).size for index in range(3)} == {(64, 48)}
        assert (data.mended, data.skipped) == ({"size read from the image file": count}, {})


@pytest.mark.parametrize(
    "change",
    [
        lambda coco: [entry.update(image_id=str(entry["image_id"])) for entry in coco["annotations"]],
        lambda coco: [entry.update(id=str(entry["id"])) for entry in coco["images"]],
    ],
)
def test_ids_as_text_and_as_numbers(change: Change, tmp_path: Path) -> None:
    data = CocoDataset.from_json(changed(tmp_path, change))
    assert [len(data.annotations(index)) for index in range(3)] == [1, 1, 1]
    assert data.mended == {"image_id as text or number": 3}


def test_an_id_that_is_there_as_text_and_as_number_is_taken_exactly(tmp_path: Path) -> None:
    def both(coco: dict[str, Any]) -> None:
        coco["images"][1]["id"] = "1"
        coco["annotations"][1]["image_id"] = "1"

    data = CocoDataset.from_json(changed(tmp_path, both))
    assert ([len(data.annotations(index)) for index in range(3)], data.mended) == ([1, 1, 1], {})


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        ({"image_id": 99}, "annotation of an unknown image", "no image has the image_id 99"),
        ({"image_id": None}, "annotation of an unknown image", "no image has the image_id None"),
        ({"bbox": []}, "malformed box", "bbox must be 4 numbers x, y, width, height, got []"),
        ({"bbox": [1, 2, 3]}, "malformed box", "got [1, 2, 3]"),
        ({"bbox": None}, "malformed box", "got None"),
        ({"bbox": [1, 2, "x", 4]}, "malformed box", "got [1, 2, 'x', 4]"),
        ({"bbox": [1, 2, float("nan"), 4]}, "degenerate box", "a.png: 1 2 nan 6"),
        ({"bbox": [1, 2, -3, 4]}, "degenerate box", "a.png: 1 2 -2 6"),
        ({"category_id": None}, "unknown category", "category must be one of the ids 1, got None"),
        ({"category_id": 7}, "unknown category", "category must be one of the ids 1, got 7"),
    ],
)
def test_bad_annotation(values: dict[str, Any], reason: str, message: str, tmp_path: Path) -> None:
    data = CocoDataset.from_json(changed(tmp_path, lambda coco: coco["annotations"].append({**coco["annotations"][0],
                                                                                           **values})))  # fmt: skip
    assert (len(data), data.skipped) == (3, {reason: 1})
    assert message in data.examples[reason][0]
    with pytest.raises(ValueError, match=r"train\.json: no (annotation can be used|image is left of 3)"):
        CocoDataset.from_json(changed(tmp_path, every("annotations", **values)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"file_name": None}, "image without a name"), ({"file_name": " "}, "image without a name"),
     ({"id": None}, "image without an id"), ({"id": [1]}, "image without an id")],
)  # fmt: skip
def test_bad_image(values: dict[str, Any], reason: str, tmp_path: Path) -> None:
    data = CocoDataset.from_json(changed(tmp_path, first("images", **values)))
    assert (len(data), data.skipped) == (2, {reason: 1, "annotation of an unknown image": 1})
    with pytest.raises(ValueError, match=r"train.json: no image can be used, the first: images\[0\]"):
        CocoDataset.from_json(changed(tmp_path, every("images", **values)))


def test_an_image_that_is_listed_twice(tmp_path: Path) -> None:
    data = CocoDataset.from_json(changed(tmp_path, lambda coco: coco["images"].append(dict(coco["images"][0]))))
    assert (len(data), data.mended) == (3, {"image listed twice": 1})
    with pytest.raises(ValueError, match=r"id occurs twice, for a.png and b.png"):
        CocoDataset.from_json(changed(tmp_path, lambda coco: coco["images"][1].update(id=1)))


FRACTIONS = [
    record(f"mscoco/images/{name}.png", [[0.1, 0.2, 0.5, 0.9]], emotic_labels(["Fear"]), (64, 48)) for name in "ab"
]
FACE_FRACTIONS = [record(f"train/Sad/{name}.png", [[0.1, 0.2, 0.5, 1.0]], [5], (64, 48)) for name in "ab"]


@pytest.mark.parametrize(
    "read",
    [
        lambda d: CocoDataset.from_csv(write_csv(d / "a.csv", FACE_FRACTIONS, [*"abcdef"])),
        lambda d: CocoDataset.from_json(write_coco_json(d / "a.json", FACE_FRACTIONS, [*"abcdef"])),
        lambda d: CaerSDataset.from_text(write_caer_s_text(d / "train.txt", FACE_FRACTIONS), val_fraction=0),
        lambda d: CaerSDataset.from_coco_json(write_coco_json(d / "caer_train.json", FACE_FRACTIONS, []),
                                              val_fraction=0),
        lambda d: EmoticDataset.from_coco_json(write_emotic_json(d / "a.json", FRACTIONS)),
        lambda d: EmoticDataset.from_csv(write_emotic_csv(d / "train.csv", FRACTIONS)),
        lambda d: EmoticDataset.from_mat(write_mat(d / "Annotations.mat", {"train": FRACTIONS})),
    ],
    ids=["own CSV", "own JSON", "CAER-S text", "CAER-S JSON", "EMOTIC JSON", "EMOTIC CSV", "EMOTIC MAT"],
)  # fmt: skip
def test_fractions_of_the_image_are_no_pixels(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"all boxes are smaller than a pixel: they must be in pixels, not fractions"):
        read(tmp_path)


def test_fractions_are_refused_for_a_part_and_with_images(tmp_path: Path) -> None:
    save_images(FACE_FRACTIONS, tmp_path)
    write_csv(tmp_path / "train.csv", FACE_FRACTIONS, [*"abcdef"])
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="not fractions of the image; the first, in train/Sad/"):
            open_split("coco", tmp_path, split)


@pytest.mark.parametrize("small", [[0.1, 0.2, 0.5, 0.9], [30, 20, 30.4, 20.3]])
def test_one_small_box_among_others_is_no_error(small: list[float], tmp_path: Path) -> None:
    records = [*RECORDS, record("d.png", [small], [0], (64, 48))]
    data = CocoDataset.from_json(write_coco_json(tmp_path / "train.json", records, ["calm"]))
    assert (len(data), data.skipped) == (4, {})
