"""One person who cannot be used is left out of many, in every form of annotations alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from dsct.config import EMOTIC_CLASSES
from dsct.data import AnnotatedDataset, CaerSDataset, CocoDataset, EmoticDataset, open_split
from tests.data.dataset_files import (
    EMOTIC_COLUMNS,
    emotic_labels,
    mat_cell,
    mat_person,
    mat_structs,
    record,
    save_images,
    write_json,
    write_rows,
)

Box = list[Any]
GOOD: Box = [5, 6, 30, 40]
NAN = float("nan")
FOLDER = "mscoco/images"
NAMES = ["a.png", "b.png", "c.png"]
LABELS = emotic_labels(["Fear"])[0]

Read = Callable[[Path, list[Box], list[Any], "Path | None"], AnnotatedDataset]
"""Writes and reads a person per image, with these boxes and classes."""


def emotic_csv(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    cells = [f"[{', '.join(map(str, box))}]" for box in boxes]
    rows = [[0, FOLDER, name, "[64, 48]", cell, [label or "Fear"], "", "", ""] for name, cell, label in
            zip(NAMES, cells, classes, strict=True)]  # fmt: skip
    return EmoticDataset.from_csv(write_rows(folder / "train.csv", EMOTIC_COLUMNS, rows), root)


def emotic_arrays(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    columns = ("Filename", "Width", "Height", "X_min", "Y_min", "X_max", "Y_max", *EMOTIC_CLASSES)
    rows = [[name, 64, 48, *(box + [""] * 4)[:4], label or 1, *[0] * 25] for name, box, label in
            zip(NAMES, boxes, classes, strict=True)]  # fmt: skip
    return EmoticDataset.from_csv(write_rows(folder / "annot_arrs_train.csv", columns, rows), root)


def emotic_mat(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    images = []
    for name, box, label in zip(NAMES, boxes, classes, strict=True):
        person: dict[str, Any] = mat_person(GOOD, LABELS, None, several=False)
        texts = any(isinstance(value, str) for value in box)
        person["body_bbox"] = mat_cell(box) if texts else np.array(box, dtype=np.float64)
        if label:
            person["annotations_categories"] = mat_structs([{"categories": mat_cell([label])}])
        size = mat_structs([{"n_col": 64, "n_row": 48}])
        images.append({"filename": name, "folder": FOLDER, "image_size": size, "person": mat_structs([person])})
    savemat(folder / "Annotations.mat", {"train": mat_structs(images)})
    return EmoticDataset.from_mat(folder / "Annotations.mat", root)


def coco(folder: Path, boxes: list[Box], classes: list[Any], good_class: int) -> dict[str, Any]:
    images = [{"id": n, "file_name": f"{FOLDER}/{name}", "width": 64, "height": 48} for n, name in enumerate(NAMES)]
    corners = [[*box[:2], *(one - other if isinstance(other, (int, float)) else one for one, other in
                            zip(box[2:], box, strict=False))] for box in boxes]  # fmt: skip
    annotations = [
        {"id": n, "image_id": n, "bbox": box, "category_id": good_class if label is None else label}
        for n, (box, label) in enumerate(zip(corners, classes, strict=True))
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": good_class, "name": "calm"}]}


def emotic_json(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    path = write_json(folder / "emotic_train_bi.json", coco(folder, boxes, classes, 2**25))
    return EmoticDataset.from_coco_json(path, root)


def caer_s_json(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    path = write_json(folder / "caer_train.json", coco(folder, boxes, classes, 5))
    return CaerSDataset.from_coco_json(path, root, val_fraction=0)


def own_json(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    return CocoDataset.from_json(write_json(folder / "train.json", coco(folder, boxes, classes, 1)), root)


def caer_s_text(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    lines = [",".join(map(str, (f"{FOLDER}/{name}", 5 if label is None else label, *box))) for name, box, label in
             zip(NAMES, boxes, classes, strict=True)]  # fmt: skip
    (folder / "train.txt").write_text("\n".join(lines))
    return CaerSDataset.from_text(folder / "train.txt", root, val_fraction=0)


def own_csv(folder: Path, boxes: list[Box], classes: list[Any], root: Path | None) -> AnnotatedDataset:
    columns = ["path", "x1", "y1", "x2", "y2", "label"]
    rows = [[f"{FOLDER}/{name}", *(box + [""] * 4)[:4], label or "calm"] for name, box, label in
            zip(NAMES, boxes, classes, strict=True)]  # fmt: skip
    return CocoDataset.from_csv(write_rows(folder / "train.csv", columns, rows), root)


#: Reader -> how it calls an entry that it cannot read, and a class that nobody knows with the reason for that.
READERS: dict[Read, tuple[str, Any, str]] = {
    emotic_csv: ("malformed row", "Joy", "unknown category"),
    emotic_arrays: ("malformed row", 2, "malformed row"),
    emotic_mat: ("malformed person", "Joy", "unknown category"),
    emotic_json: ("malformed box", 2**26, "unknown category"),
    caer_s_json: ("malformed box", 7, "unknown category"),
    caer_s_text: ("malformed line", 7, "unknown category"),
    own_json: ("malformed box", 9, "unknown category"),
    # Every label of one's own CSV is a class; one that the caller's classes lack is refused, see test_coco.py.
    own_csv: ("malformed row", "a|", "malformed row"),
}
BOXES: dict[str, tuple[Box, bool]] = {
    "no number": ([5, "six", 30, 40], False),
    "a value is missing": ([5, 6, 30], False),
    "NaN": ([NAN, 6, 30, 40], True),
    "no width": ([30, 6, 30, 40], True),
    "turned over": ([30, 6, 5, 40], True),
}


@pytest.fixture(params=READERS, ids=lambda reader: reader.__name__)
def read(request: pytest.FixtureRequest) -> Read:
    reader: Read = request.param
    return reader


def saved_images(root: Path) -> Path:
    save_images([record(f"{FOLDER}/{name}", [GOOD], LABELS[None], (64, 48)) for name in NAMES], root)
    return root


@pytest.fixture(params=[False, True], ids=["without images", "with images"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return saved_images(tmp_path) if request.param else None


def assert_left_out(data: AnnotatedDataset, reason: str) -> None:
    assert data.skipped == {reason: 1, "image without usable person": 1}
    assert "b.png" in data.examples["image without usable person"][0]
    assert len(data.examples[reason]) == 1
    assert [data.annotations(index).boxes.tolist() for index in range(len(data))] == [[GOOD], [GOOD]]


@pytest.mark.parametrize("kind", BOXES)
def test_a_bad_box_of_many_is_left_out(kind: str, read: Read, root: Path | None, tmp_path: Path) -> None:
    box, readable = BOXES[kind]
    data = read(tmp_path, [GOOD, box, GOOD], [None] * 3, root)
    assert_left_out(data, "degenerate box" if readable else READERS[read][0])


def test_a_box_outside_its_image_is_left_out(read: Read, tmp_path: Path) -> None:
    assert_left_out(read(tmp_path, [GOOD, [90, 6, 99, 40], GOOD], [None] * 3, saved_images(tmp_path)), "degenerate box")


def test_a_bad_class_of_many_is_left_out(read: Read, root: Path | None, tmp_path: Path) -> None:
    _, unknown, reason = READERS[read]
    assert_left_out(read(tmp_path, [GOOD] * 3, [None, unknown, None], root), reason)


@pytest.mark.parametrize("kind", BOXES)
def test_a_file_of_nothing_else_is_refused(kind: str, read: Read, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no (row|line|person|annotation) can be used, the first|no image is left of 3"
    ):
        read(tmp_path, [BOXES[kind][0]] * 3, [None] * 3, None)


@pytest.mark.parametrize("ending", [b"", b",1,2,3,4,5,6,7,8,9"])
@pytest.mark.parametrize("reader", [emotic_csv, emotic_arrays, own_csv])
def test_a_row_of_another_length(reader: Read, ending: bytes, tmp_path: Path) -> None:
    reader(tmp_path, [GOOD] * 3, [None] * 3, None)
    (path,) = tmp_path.glob("*.csv")
    first, *others = path.read_bytes().splitlines(keepends=True)
    cut = others[1].strip() + ending if ending else others[1].rpartition(b",")[0]
    path.write_bytes(first + others[0] + cut + b"\n" + others[2])
    data = (CocoDataset if reader is own_csv else EmoticDataset).from_csv(path)
    assert (len(data), data.skipped) == (2, {"malformed row": 1})
    assert data.examples["malformed row"][0].startswith("line 3: a row must have ")


@pytest.mark.parametrize("reader", [emotic_csv, emotic_arrays, own_csv])
def test_a_header_alone_has_no_rows(reader: Read, tmp_path: Path) -> None:
    reader(tmp_path, [GOOD] * 3, [None] * 3, None)
    (path,) = tmp_path.glob("*.csv")
    path.write_text(path.read_text().splitlines()[0] + "\n")
    message = r"train.csv: the file must hold images and the people in them, got a header and no rows$"
    with pytest.raises(ValueError, match=message):
        (CocoDataset if reader is own_csv else EmoticDataset).from_csv(path)
    with pytest.raises(ValueError, match=message):
        open_split("coco" if reader is own_csv else "emotic", tmp_path, "train")


def test_a_malformed_size_does_not_lose_the_image(tmp_path: Path) -> None:
    rows = [[0, FOLDER, "a.png", size, GOOD, ["Fear"], "", "", ""] for size in ("[]", "[64, 48]")]
    data = EmoticDataset.from_csv(write_rows(tmp_path / "train.csv", EMOTIC_COLUMNS, rows))
    assert (len(data), data.annotations(0).size, data.skipped) == (1, (64, 48), {"malformed row": 1})


def test_a_malformed_image_of_a_matlab_file(tmp_path: Path) -> None:
    person = mat_structs([mat_person(GOOD, LABELS, None, several=False)])
    sizes = [mat_structs([{"n_col": side, "n_row": 48}]) for side in (64, 0)]
    images = [{"filename": "a.png", "folder": FOLDER, "image_size": size, "person": person} for size in sizes]
    savemat(tmp_path / "Annotations.mat", {"train": mat_structs(images)})
    data = EmoticDataset.from_mat(tmp_path / "Annotations.mat")
    assert (len(data), data.skipped) == (1, {"malformed image": 1})
    assert data.examples["malformed image"] == ("train(2): the image size must be positive, got 0 and 48",)
