"""The part of training data that is used for validation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dsct.data import CaerSDataset, CocoDataset, open_split
from dsct.data.annotation_files.raw_annotations import RawAnnotations, RawImage, RawPerson, TooFewImages
from tests.data.dataset_files import record, save_images, write_coco_json, write_csv

BOX = (1.0, 1.0, 9.0, 9.0)


def annotations(per_class: dict[int, int], multi_label: bool = False) -> RawAnnotations:
    images = [
        RawImage(f"{label}_{number}.png", (20, 20), [RawPerson(BOX, (label,))])
        for label, count in per_class.items()
        for number in range(count)
    ]
    names = tuple(f"class{label}" for label in per_class)
    return RawAnnotations(Path("all.csv"), "train", images, names, multi_label, "")


def cut(raw: RawAnnotations, fraction: float = 1 / 7, seed: int = 0) -> tuple[set[str], set[str]]:
    train, val = ({image.name for image in raw.part(split, fraction, seed).images} for split in ("train", "val"))
    assert not train & val
    assert len(train | val) == len(raw.images)
    return train, val


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(
    ("classes", "images", "expected"),
    [(20, 3, 9), (7, 1, 1), (2, 1, 1), (1, 2, 1), (1, 14, 2), (20, 4, 11), (3, 2, 1), (26, 100, 371)],
)
def test_the_share_is_kept_however_few_images_a_class_has(
    classes: int, images: int, expected: int, multi_label: bool
) -> None:
    _, val = cut(annotations(dict.fromkeys(range(classes), images), multi_label))
    assert len(val) == expected


def test_classes_share_alike_and_training_keeps_one_of_each() -> None:
    raw = annotations({0: 70, 1: 14, 2: 3, 3: 1})
    train, val = cut(raw)
    counts = Counter(name[0] for name in val)
    assert (counts["0"], counts["1"], counts["3"]) == (10, 2, 0)
    assert {name[0] for name in train} == set("0123")


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_each_part_gets_an_image(fraction: float) -> None:
    train, val = cut(annotations({0: 2}), fraction)
    assert (len(train), len(val)) == (1, 1)


def test_stable_under_additions() -> None:
    """One image more moves at most a few others."""
    raw = annotations(dict.fromkeys(range(20), 3))
    more = annotations({**dict.fromkeys(range(20), 3), 7: 4})
    before, after = cut(raw)[1], cut(more)[1]
    assert len(before - after) <= 1
    assert cut(RawAnnotations(raw.path, "train", raw.images[::-1], raw.class_names, False, ""))[1] == before
    assert cut(raw, seed=1)[1] != before


def test_one_image_is_for_training() -> None:
    raw = annotations({0: 1})
    assert len(raw.part("train", 1 / 7, 0).images) == 1
    with pytest.raises(TooFewImages, match=r"all.csv: 1 image is too few to cut a validation part from; add images"):
        raw.part("val", 1 / 7, 0)


def test_what_belongs_to_no_image_is_counted_once() -> None:
    raw = annotations({0: 14})
    raw.changes.lose("annotation of an unknown image", "annotations[3]")
    assert sum(raw.part(split, 0.5, 0).changes.lost.total() for split in ("train", "val")) == 1


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_twenty_classes_of_three_images_on_disk(suffix: str, tmp_path: Path) -> None:
    records = [record(f"{c}_{i}.png", [[1, 2, 30, 40]], [c], (64, 48)) for c in range(20) for i in range(3)]
    save_images(records, tmp_path)
    (write_csv if suffix == "csv" else write_coco_json)(tmp_path / f"train.{suffix}", records, [*map(str, range(20))])
    assert [len(open_split("coco", tmp_path, split)) for split in ("train", "val")] == [51, 9]
    assert [len(open_split("coco", tmp_path, split, val_fraction=0.5)) for split in ("train", "val")] == [30, 30]
    reader = CocoDataset.from_csv if suffix == "csv" else CocoDataset.from_json
    assert len(reader(tmp_path / f"train.{suffix}", split="val", val_fraction=1 / 7)) == 9


def test_caer_s_with_few_images_per_class(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("\n".join(f"train/Sad/{number}.png,5,1,1,9,9" for number in range(3)))
    assert [len(CaerSDataset.from_text(path, split=split)) for split in ("train", "val")] == [2, 1]
