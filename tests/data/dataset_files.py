"""Writes records as files of every format that the package reads, in place of data that must not be copied."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data.emotic import encode_category_id
from dsct.data.records import Annotations
from dsct.data.synthetic import SyntheticDataset

EMOTIC_COLUMNS = (
    "Index",
    "Folder",
    "Filename",
    "Image Size",
    "BBox",
    "Categorical_Labels",
    "Continuous_Labels",
    "Gender",
    "Age",
)


def record(name: str, boxes: Any, labels: Any, size: tuple[int, int] = (640, 480)) -> Annotations:
    """A record without image."""
    return Annotations(Path(name), np.array(boxes).reshape(-1, 4), np.array(labels), size)


def emotic_labels(*people: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(n, 26) from the names of each person's classes."""
    return np.array([[name in names for name in EMOTIC_CLASSES] for names in people], dtype=np.int64)


def save_scenes(scenes: SyntheticDataset, root: Path, name_of: Callable[[int, Annotations], str]) -> list[Annotations]:
    """Saves synthetic scenes without loss and returns their records, with paths relative to `root`."""
    records = []
    for index in range(len(scenes)):
        annotations = scenes.annotations(index)
        path = Path(name_of(index, annotations))
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = scenes[index][0].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(root / path)
        records.append(dataclasses.replace(annotations, image_path=path))
    return records


def emotic_name(split: str) -> Callable[[int, Annotations], str]:
    """Where EMOTIC would have an image."""
    return lambda index, _: f"mscoco/images/{split}_{index:05d}.png"


def caer_s_name(split: str, anger: str = "Angry") -> Callable[[int, Annotations], str]:
    """Where CAER-S would have an image; one whose people differ, which CAER-S has not, is in a folder of no class."""

    def name(index: int, annotations: Annotations) -> str:
        classes = {CAER_S_CLASSES[label] for label in annotations.labels}
        folder = classes.pop() if len(classes) == 1 else "several"
        return f"{split}/{anger if folder == 'Anger' else folder}/{index:04d}.png"

    return name


def save_images(records: Sequence[Annotations], root: Path) -> None:
    """Grey images of the right sizes."""
    for one in records:
        assert one.image_path is not None
        (root / one.image_path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", one.size, "grey").save(root / one.image_path)


def coco_content(
    records: Sequence[Annotations], category_of: Callable[[Any], Mapping[str, Any]], class_names: Sequence[str] = ()
) -> dict[str, Any]:
    """COCO's form: image ids from 1, annotation ids from 0, as the released files have them."""
    images, annotations = [], []
    for number, one in enumerate(records, 1):
        images.append({"height": one.size[1], "width": one.size[0], "id": number, "file_name": _name(one)})
        for box, label in zip(one.boxes.astype(float), one.labels, strict=True):
            x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    **category_of(label),
                    "segmentation": [[x, y, x + width, y, x, y + height, x + width, y + height]],
                    "bbox": [_number(value) for value in (x, y, width, height)],
                    "iscrowd": 0,
                    "area": width * height,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_json(path: Path, content: Any) -> Path:
    """Any content as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_emotic_json(path: Path, records: Sequence[Annotations]) -> Path:
    """``emotic_{split}_bi.json``."""
    content = coco_content(records, lambda labels: {"category_id": encode_category_id(labels)})
    return write_json(path, {"info": "EMOTIC-Detection", "license": ["none"], **content})


def write_coco_json(path: Path, records: Sequence[Annotations], class_names: Sequence[str]) -> Path:
    """One's own COCO file, or ``caer_{split}.json``; several labels become ``category_ids``."""

    def category_of(label: Any) -> Mapping[str, Any]:
        if np.ndim(label):
            return {"category_ids": np.flatnonzero(label).tolist()}
        return {"category_id": int(label)}

    return write_json(path, coco_content(records, category_of, class_names))


def write_caer_s_text(path: Path, records: Sequence[Annotations]) -> Path:
    """``train.txt`` or ``test.txt``."""
    lines = [
        ",".join(map(str, (_name(one), int(label), *(_number(value) for value in box))))
        for one in records
        for box, label in zip(one.boxes, one.labels, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_csv(path: Path, records: Sequence[Annotations], class_names: Sequence[str]) -> Path:
    """One's own CSV; several labels are separated by ``|``."""
    rows = []
    for one in records:
        for box, label in zip(one.boxes, one.labels, strict=True):
            numbers = np.flatnonzero(label) if np.ndim(label) else [label]
            names = "|".join(class_names[number] for number in numbers)
            rows.append([_name(one), *(_number(value) for value in box), names])
        if not len(one):
            rows.append([_name(one), "", "", "", "", ""])
    return write_rows(path, ["path", "x1", "y1", "x2", "y2", "label"], rows)


def write_emotic_csv(path: Path, records: Sequence[Annotations]) -> Path:
    """``{split}.csv``, with the two numbers of the image size exchanged where the real file has them so."""
    rows = []
    for one in records:
        folder, filename = _folder(one)
        for box, labels in zip(one.boxes, one.labels, strict=True):
            names = [EMOTIC_CLASSES[number] for number in np.flatnonzero(labels)]
            numbers = [_number(value) for value in box]
            size = list(_stored_size(one))
            rows.append([len(rows), folder, filename, size, numbers, names, [5.0, 5.0, 5.0], "Male", "Adult"])
    return write_rows(path, EMOTIC_COLUMNS, rows)


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_mat(path: Path, splits: Mapping[str, Sequence[Annotations]], whim: str | None = None) -> Path:
    """``Annotations.mat``: one annotator in training, several and what they agree on in the other splits.

    Args:
        path: the file.
        splits: ``"train"``, ``"val"``, ``"test"`` -> records.
        whim: a class that one of several annotators gives everybody and that is not among the combined ones.
    """
    tables = {}
    for split, records in splits.items():
        images = []
        for one in records:
            folder, filename = _folder(one)
            columns, rows = _stored_size(one)
            persons = [
                mat_person(box, labels, None if split == "train" else whim, several=split != "train")
                for box, labels in zip(one.boxes, one.labels, strict=True)
            ]
            images.append(
                {
                    "filename": filename,
                    "folder": folder,
                    "image_size": mat_structs([{"n_col": columns, "n_row": rows}]),
                    "original_database": mat_structs([{"name": folder.split("/")[0], "info": np.empty((0, 0))}]),
                    "person": mat_structs(persons),
                }
            )
        tables[split] = mat_structs(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, tables, do_compression=True)
    return path


def mat_person(box: Any, labels: Any, whim: str | None, *, several: bool) -> dict[str, Any]:
    """A person as ``Annotations.mat`` has it."""
    names = [EMOTIC_CLASSES[number] for number in np.flatnonzero(labels)]
    said = [names[::2], [*names[1::2], *([whim] if whim else [])]] if several else [names]
    feeling = {"valence": 5, "arousal": 5, "dominance": 5}
    person = {
        "body_bbox": np.array(box, dtype=np.float64).reshape(1, 4),
        "annotations_categories": mat_structs([{"categories": mat_cell(some)} for some in said]),
        "annotations_continuous": mat_structs([feeling] * len(said)),
        "gender": "Female",
        "age": "Adult",
    }
    if several:
        person["combined_categories"] = mat_cell(names)
        person["combined_continuous"] = mat_structs([feeling])
    return person


def mat_structs(structs: Sequence[Mapping[str, Any]]) -> Any:
    """A 1×n struct array; MATLAB has an empty matrix where there is none."""
    if not structs:
        return np.empty((0, 0))
    array = np.empty((1, len(structs)), dtype=[(name, object) for name in structs[0]])
    for number, struct in enumerate(structs):
        for name, value in struct.items():
            array[name][0, number] = value
    return array


def mat_cell(texts: Sequence[str]) -> Any:
    """A 1×n cell array."""
    cell = np.empty((1, len(texts)), dtype=object)
    cell[0, :] = texts
    return cell


def _name(one: Annotations) -> str:
    assert one.image_path is not None
    return one.image_path.as_posix()


def _folder(one: Annotations) -> tuple[str, str]:
    folder, _, filename = _name(one).rpartition("/")
    return folder, filename


def _stored_size(one: Annotations) -> tuple[int, int]:
    """As EMOTIC stores it: height first in ``emodb_small``, width first elsewhere."""
    width, height = one.size
    return (height, width) if _name(one).startswith("emodb_small") else (width, height)


def _number(value: Any) -> int | float:
    """An integer where it is one, as the real files have them."""
    return int(value) if float(value).is_integer() else float(value)
