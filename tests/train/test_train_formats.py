"""The whole chain: scenes written in a format of EMOTIC, CAER-S or one's own, read again and trained on.

The run equals, to the bit, that on the scenes as they are drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import dsct
from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.data.annotated import AnnotatedDataset
from dsct.data.folders import open_split
from dsct.data.records import Annotations
from dsct.data.synthetic import SyntheticDataset
from dsct.train import TrainConfig, Trainer, seed_everything
from tests.data import dataset_files as files
from tests.train.training_run import MODEL, assert_same_run, log_rows

RECIPE = TrainConfig.tiny(epochs=1, batch_size=2, log_every=1, augmentation="multi_scale", short_side=64, long_side=96)
SIZES = {"train": 7, "val": 3}
Write = Callable[[Path, dict[str, list[Annotations]]], object]


def emotic_json(root: Path, splits: dict[str, list[Annotations]]) -> None:
    for split, records in splits.items():
        files.write_emotic_json(root / "annotations" / f"emotic_{split}_bi.json", records)


def emotic_mat(root: Path, splits: dict[str, list[Annotations]]) -> None:
    files.write_mat(root / "Annotations" / "Annotations.mat", splits)


def emotic_csv(root: Path, splits: dict[str, list[Annotations]]) -> None:
    for split, records in splits.items():
        files.write_emotic_csv(root / f"{split}.csv", records)


def caer_s_text(root: Path, splits: dict[str, list[Annotations]]) -> None:
    files.write_caer_s_text(root / "train.txt", [one for records in splits.values() for one in records])


def caer_s_json(root: Path, splits: dict[str, list[Annotations]]) -> None:
    records = [one for of_split in splits.values() for one in of_split]
    files.write_coco_json(root / "caer_train.json", records, CAER_S_CLASSES)


def own_json(root: Path, splits: dict[str, list[Annotations]]) -> None:
    for split, records in splits.items():
        files.write_coco_json(root / f"{split}.json", records, CAER_S_CLASSES)


def own_csv(root: Path, splits: dict[str, list[Annotations]]) -> None:
    for split, records in splits.items():
        files.write_csv(root / f"{split}.csv", records, EMOTIC_CLASSES)


FORMATS: dict[str, tuple[str, Write, dict[str, Any]]] = {
    "EMOTIC JSON": ("emotic", emotic_json, {}),
    "EMOTIC mat": ("emotic", emotic_mat, {}),
    "EMOTIC CSV": ("emotic", emotic_csv, {}),
    "CAER-S text": ("caer-s", caer_s_text, {}),
    "CAER-S JSON": ("caer-s", caer_s_json, {}),
    "own JSON": ("coco", own_json, {}),
    "own CSV, several labels": ("coco", own_csv, {"multi_label": True, "class_names": EMOTIC_CLASSES}),
}


class Drawn:
    """Scenes as they are drawn, those and in the order that a data set on disk has."""

    def __init__(self, scenes: Sequence[SyntheticDataset], order: Sequence[tuple[int, int]], split: str) -> None:
        self.scenes, self.order, self.split = scenes, order, split

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        which, scene = self.order[index]
        return self.scenes[which][scene]


def train(run_dir: Path, train_data: Any, val_data: Any, multi_label: bool) -> None:
    seed_everything(RECIPE.seed)
    fields = {"multi_label": multi_label, "num_classes": 26 if multi_label else 7}
    names = EMOTIC_CLASSES if multi_label else CAER_S_CLASSES
    config = dataclasses.replace(MODEL, **fields, class_names=names)
    Trainer(
        dsct.DSCT(config), dsct.SetCriterion(config), dsct.PostProcess(config), train_data, val_data, RECIPE, run_dir,
        visible=False,
    ).fit()  # fmt: skip


def origin(data: AnnotatedDataset) -> list[tuple[int, int]]:
    """For each image of a data set on disk, split and number of the scene that it shows."""
    found = []
    for index in range(len(data)):
        path = data.annotations(index).image_path
        assert path is not None
        split, number = path.stem.split("_")
        found.append((list(SIZES).index(split), int(number)))
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_training_from_files_is_training_from_the_drawings(name: str, tmp_path: Path) -> None:
    kind, write, options = FORMATS[name]
    multi_label = kind == "emotic" or options.get("multi_label", False)
    size = {"image_size": (96, 64), "multi_label": multi_label}
    drawn = [SyntheticDataset(split, count, **size) for split, count in SIZES.items()]
    folder = "train/several" if kind == "caer-s" else "mscoco/images"
    splits = {}
    for scenes in drawn:
        name_of = lambda index, _, split=scenes.split: f"{folder}/{split}_{index:05d}.png"  # noqa: E731
        splits[scenes.split] = files.save_scenes(scenes, tmp_path / "data", name_of)
    write(tmp_path / "data", splits)

    on_disk = [
        open_split(kind, tmp_path / "data", "train", transforms=RECIPE.training_transform(), **options),
        open_split(kind, tmp_path / "data", "val", transforms=RECIPE.evaluation_transform(), **options),
    ]
    assert sum(map(len, on_disk)) == sum(SIZES.values())
    assert all(data.multi_label == multi_label for data in on_disk)
    train(tmp_path / "from files", *on_disk, multi_label)

    # Validation transforms for validation images, whichever split of the generator they come from.
    as_drawn = []
    for data in on_disk:
        sources = [SyntheticDataset(split, n, **size, transforms=data.transforms) for split, n in SIZES.items()]
        as_drawn.append(Drawn(sources, origin(data), data.split))
    train(tmp_path / "as drawn", *as_drawn, multi_label)
    assert_same_run(tmp_path / "from files", tmp_path / "as drawn")
    assert float(log_rows(tmp_path / "from files")[0]["train_loss"]) > 0
