"""A data set over records: images, sizes, worker processes and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torch.utils.data import DataLoader

from dsct.data import AnnotatedDataset, Annotations, CocoDataset, collate, evaluation_transform, training_transform
from dsct.data.image_io import load_image, upright_size
from tests.data.dataset_files import record, save_images, write_coco_json

CLASSES = ("calm", "happy")
RECORDS = [record(f"{name}.png", [[5, 10, 30, 40]], [number], (64, 48)) for number, name in enumerate("ab")]


def dataset(records: list[Annotations] = RECORDS, **options: Any) -> AnnotatedDataset:
    return AnnotatedDataset(records, **{"split": "train", "class_names": CLASSES, "multi_label": False, **options})


def test_image_and_target(tmp_path: Path) -> None:
    save_images(RECORDS, tmp_path)
    image, target = dataset(image_root=tmp_path)[1]
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert target["boxes"].tolist() == [[5, 10, 30, 40]]
    assert target["labels"].tolist() == [1]
    assert target["image_id"] == "b.png"
    assert target["orig_size"].tolist() == [48, 64]


def test_transforms_can_be_set_later(tmp_path: Path) -> None:
    save_images(RECORDS, tmp_path)
    data = dataset(image_root=tmp_path)
    data.transforms = evaluation_transform(None)
    image, target = data[0]
    assert tuple(image.shape) == (3, 48, 64)
    torch.testing.assert_close(target["boxes"], torch.tensor([[17.5 / 64, 25 / 48, 25 / 64, 30 / 48]]))


def test_images_without_people_are_trained_on(tmp_path: Path) -> None:
    empty = record("e.png", [], np.zeros(0), (64, 48))
    save_images([empty], tmp_path)
    _, target = dataset([empty], image_root=tmp_path, transforms=training_transform())[0]
    assert (target["boxes"].shape, target["labels"].shape) == ((0, 4), (0,))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes(context: str, tmp_path: Path) -> None:
    save_images(RECORDS, tmp_path)
    data = dataset(image_root=tmp_path, transforms=evaluation_transform(None))
    loader = DataLoader(data, 2, num_workers=1, collate_fn=collate, multiprocessing_context=context)
    (batch,) = loader
    assert tuple(batch.images.shape) == (2, 3, 48, 64)
    assert [target["image_id"] for target in batch.targets] == ["a.png", "b.png"]


def test_annotations_touch_no_image(tmp_path: Path) -> None:
    data = dataset(image_root=tmp_path / "nowhere")
    assert data.annotations(0).image_path == tmp_path / "nowhere/a.png"
    assert dataset().annotations(0).image_path == Path("a.png")


def test_images_need_a_root() -> None:
    with pytest.raises(ValueError, match=r"image_root must be given to open images, got None for a.png"):
        dataset()[0]


@pytest.mark.parametrize("index", [-1, 2])
def test_index_out_of_range(index: int) -> None:
    for access in (dataset().annotations, dataset().__getitem__):
        with pytest.raises(IndexError, match=rf"AnnotatedDataset: index must be in 0..1, got {index}"):
            access(index)


def test_no_records() -> None:
    with pytest.raises(ValueError, match=r"a.json: no image is left; missing image: 3"):
        dataset([], source="a.json", skipped={"missing image": 3})


@pytest.mark.parametrize(
    ("labels", "multi_label", "message"),
    [
        ([2], False, r"a.png: labels must be \(n,\) class numbers below 2, got \[2\]"),
        ([[0, 1]], False, r"labels must be \(n,\) class numbers below 2"),
        ([1], True, r"labels must be \(n, 2\) of 0 and 1"),
        ([[0, 1, 1]], True, r"labels must be \(n, 2\) of 0 and 1"),
    ],
)
def test_labels_that_do_not_fit(labels: Any, multi_label: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset([record("a.png", [[1, 1, 9, 9]], labels)], multi_label=multi_label)


def test_image_that_changed_its_size(tmp_path: Path) -> None:
    save_images([record("a.png", [], np.zeros(0), (48, 64))], tmp_path)
    with pytest.raises(ValueError, match=r"a.png: the image must be \(64, 48\) .* got \(48, 64\)"):
        dataset(image_root=tmp_path)[0]


def test_damaged_and_missing_image(tmp_path: Path) -> None:
    data = dataset(image_root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"a.png"):
        data[0]
    save_images(RECORDS, tmp_path)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=r"a.png: the image cannot be read"):
        data[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_size_of_the_upright_image(ending: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (20, 10)).save(path, exif=exif)
    assert upright_size(path) == load_image(path).size == ((10, 20) if orientation > 4 else (20, 10))


def test_size_is_read_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda _: pytest.fail("decoded"))
    assert upright_size(tmp_path / "a.png") == (20, 10)


def test_turned_photo_whose_boxes_are_in_the_stored_image_is_left_out(tmp_path: Path) -> None:
    """Boxes drawn by a tool that ignores the orientation lie elsewhere in the image that the model sees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png", exif=exif)
    save_images(RECORDS[1:], tmp_path)
    data = CocoDataset.from_json(write_coco_json(tmp_path / "train.json", RECORDS, CLASSES), tmp_path)
    assert [data.annotations(index).image_path for index in range(len(data))] == [tmp_path / "b.png"]
    assert data.skipped == {"image that EXIF turns, annotated as stored": 1}


def test_the_folder_that_has_most_images_is_taken(tmp_path: Path) -> None:
    save_images(RECORDS[:1], tmp_path / "few")
    save_images(RECORDS, tmp_path / "all")
    path = write_coco_json(tmp_path / "train.json", RECORDS, CLASSES)
    data = CocoDataset.from_json(path, [tmp_path, tmp_path / "few", tmp_path / "all"])
    assert (data.image_root, len(data)) == (tmp_path / "all", 2)
