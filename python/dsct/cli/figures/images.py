"""The images of a figure: files, or images of a data set with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from dsct.cli.datasets import Data, describe_folder, describe_scenes, open_data
from dsct.cli.options import AnnotationsOption, DataOption, DatasetName, LabelsOption, Split, split_option
from dsct.config import DSCTConfig
from dsct.data.image_io import ImageInput
from dsct.json_text import parse_json
from dsct.prediction.people import People

if TYPE_CHECKING:
    from dsct.data.records import Annotations


@dataclass
class Images:
    """Which images are drawn."""

    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE", help="Images; or choose some of --dataset.")
    ] = None
    dataset: Annotated[DatasetName | None, typer.Option(help="Take images of this data set, and show the truth.")] = (
        None
    )
    data: DataOption = None
    annotations: AnnotationsOption = None
    labels: LabelsOption = None
    split: Annotated[Split, split_option("Split of the data set.")] = Split.test
    index: Annotated[
        list[int] | None,
        typer.Option(
            min=0, help="Number of an image in the split, from 0; repeatable. By default the first with people."
        ),
    ] = None
    image_size: Annotated[str, typer.Option(help="Synthetic: WIDTHxHEIGHT of the images in pixels.")] = "480x360"

    def chosen(self, config: DSCTConfig, count: int) -> list[Chosen]:
        """The images: those given, or `count` of the data set unless `index` says which.

        Raises:
            ValueError: there are none, or both kinds are given, or classes are not those of `config`.
            OSError: the data set cannot be read.
        """
        if bool(self.images) == (self.dataset is not None):
            raise ValueError("give either images or --dataset, which ones to draw")
        if self.images:
            return [Chosen(path, None, path) for path in self.images]
        opened = self._open(config, count)
        if tuple(opened.class_names) != tuple(config.names):
            raise ValueError(f"the weights are for the classes {list(config.names)}, the data set has "
                             f"{list(opened.class_names)}")  # fmt: skip
        return [_of_dataset(opened, index) for index in self._indices(opened, count)]

    def one(self, config: DSCTConfig) -> Chosen:
        """The only image.

        Raises:
            ValueError: as in `chosen`, or there are several.
        """
        first, *others = self.chosen(config, 1)
        if others:
            raise ValueError(f"this figure shows one image, got {1 + len(others)}")
        return first

    def _open(self, config: DSCTConfig, count: int) -> Data:
        assert self.dataset is not None
        if self.dataset is DatasetName.synthetic:
            size = max(self.index, default=0) + 1 if self.index else count
            about = describe_scenes({self.split.value: size}, self.image_size, 0.3, config.multi_label)
        else:
            about = describe_folder(self.dataset, self.data, self.annotations, self.labels, config.multi_label)
            about["class_names"] = list(config.names)
        return open_data(about, self.split.value, None)

    def _indices(self, opened: Data, count: int) -> list[int]:
        for index in self.index or ():
            if index >= len(opened):
                raise ValueError(f"--index must be below {len(opened)}, the number of images, got {index}")
        with_people = (index for index in range(len(opened)) if len(opened.annotations(index).boxes))
        found = self.index or [index for index, _ in zip(with_people, range(count), strict=False)]
        if not found:
            raise ValueError("no image of this split has people")
        return found


@dataclass(frozen=True)
class Chosen:
    """One image, what is true of it if that is known, and its file if it has one."""

    image: ImageInput
    truth: Annotations | None
    path: Path | None


def _of_dataset(opened: Data, index: int) -> Chosen:
    truth = opened.annotations(index)
    image: Any = truth.image_path if truth.image_path is not None else opened[index][0]
    return Chosen(image, truth, truth.image_path)


def read_results(path: Path, chosen: list[Chosen], class_names: tuple[str, ...] | None) -> list[People]:
    """What another program found in these images: the JSON, or JSON lines, that ``dsct predict`` writes.

    Args:
        path: the file.
        chosen: images, found in it by their path, or by their file name where only one has it.
        class_names: the classes; None takes those of the first person.

    Raises:
        ValueError: it has another form, other classes, or lacks an image.
        OSError: it cannot be read.
    """
    written = path.read_bytes()
    lines = [line for line in written.splitlines() if line.strip()] if path.suffix == ".jsonl" else [written]
    what = "what `dsct predict --out` writes as .json or .jsonl"
    try:
        found = [parse_json(line, path) for line in lines]
    except ValueError as error:
        raise ValueError(f"{path} must be {what}: {error}") from error
    records = found[0] if len(found) == 1 and isinstance(found[0], list) else found
    try:
        by_image = {str(record["image"]): record for record in records}
        names = class_names or next((tuple(p["probabilities"]) for r in records for p in r["people"]), ())
        return [_people(_record_of(one, by_image, path), names, one, path) for one in chosen]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} must be {what}: {error!r}") from error


def _record_of(chosen: Chosen, by_image: dict[str, Any], path: Path) -> dict[str, Any]:
    if chosen.path is None:
        raise ValueError(f"{path}: results of other programs need images that are files")
    if str(chosen.path) in by_image:
        return dict(by_image[str(chosen.path)])
    same_name = [record for image, record in by_image.items() if Path(image).name == chosen.path.name]
    if len(same_name) != 1:
        raise ValueError(f"{path} must have one record of {chosen.path}, got {len(same_name)}")
    return dict(same_name[0])


def _people(record: dict[str, Any], names: tuple[str, ...], chosen: Chosen, path: Path) -> People:
    people = record["people"]
    for person in people:
        if set(person["probabilities"]) != set(names):
            raise ValueError(f"{path} must have the classes {list(names)}, got {list(person['probabilities'])}")
    probabilities = [[person["probabilities"][name] for name in names] for person in people]
    return People(
        np.array([person["box"] for person in people], np.float32).reshape(-1, 4),
        np.array([person["score"] for person in people], np.float32),
        [list(person["labels"]) for person in people],
        np.array(probabilities, np.float32).reshape(len(people), len(names)),
        names,
        (record["width"], record["height"]),
        chosen.image,
        record.get("note"),
    )
