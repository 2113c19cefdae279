"""The data sets that commands work on: described by a command line or a finished run, opened, summed up in a line.

A description is plain data, kept in the run's ``config.json``: the embedded scenes by their parameters, a data set on
disk by its folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from dsct.cli.options import DatasetName
from dsct.data.annotated import AnnotatedDataset
from dsct.data.folders import DataFolder
from dsct.data.layouts.search import seen_from
from dsct.data.synthetic import SyntheticDataset
from dsct.data.transforms import Transform

Description = dict[str, Any]
Data: TypeAlias = AnnotatedDataset | SyntheticDataset


def describe_scenes(sizes: dict[str, int], image_size: str, difficulty: float, multi_label: bool) -> Description:
    """The embedded scenes, with `sizes` images by split."""
    options = {"multi_label": multi_label, "image_size": parse_size(image_size), "difficulty": difficulty}
    return {"name": DatasetName.synthetic.value, "sizes": sizes, "options": options}


def describe_folder(
    name: DatasetName,
    folder: Path | None,
    annotations: Path | None,
    labels: str | None,
    multi_label: bool,
    val_fraction: float | None = None,
) -> Description:
    """A data set on disk, by absolute paths, so that a run can be resumed from anywhere.

    Raises:
        ValueError: no folder is given, or `val_fraction` for a data set with validation data of its own.
    """
    if folder is None:
        raise ValueError(f"--data must name the folder of {name.value}")
    check_val_fraction(name.value, val_fraction)
    return {
        "name": name.value,
        "folder": str(folder.resolve()),
        "annotations": None if annotations is None else str(seen_from(folder, annotations)),
        "labels": labels,
        "multi_label": multi_label,
        "val_fraction": val_fraction,
    }


def check_val_fraction(name: str, val_fraction: float | None) -> None:
    """Refuses a share of validation data for a data set that has some of its own.

    Raises:
        ValueError: for EMOTIC.
    """
    if val_fraction is not None and name == DatasetName.emotic.value:
        raise ValueError(f"--val-fraction is for caer-s and coco: emotic has validation data, got {val_fraction}")


def opener(about: Description, cache_dir: Path | None = None) -> Callable[[str, Transform | None], Data]:
    """Opens the splits of the described data set, by name and with a transform; no file is read twice for them.

    Raises:
        FileNotFoundError: the folder does not exist. The returned function raises it if annotations do not exist, and
            ValueError if they are malformed.
    """
    if about["name"] == DatasetName.synthetic.value:
        options = {**about["options"], "image_size": tuple(about["options"]["image_size"])}
        return lambda split, transforms: SyntheticDataset(
            split, about["sizes"][split], **options, transforms=transforms, cache_dir=cache_dir
        )
    options = {name: about[name] for name in ("annotations", "labels", "multi_label")}
    options |= {name: about[name] for name in ("class_names", "val_fraction") if about.get(name) is not None}
    return DataFolder(about["name"], about["folder"], **options).open


def open_data(about: Description, split: str, transforms: Transform | None, cache_dir: Path | None = None) -> Data:
    """One split of the described data set.

    Raises:
        FileNotFoundError: the folder or its annotations do not exist.
        ValueError: the annotations are malformed.
    """
    return opener(about, cache_dir)(split, transforms)


def describe(data: Data) -> str:
    """One line about a data set: its annotations, the number of images, what was left out and what was mended."""
    source = getattr(data, "source", "synthetic scenes")
    changes = {"left out": getattr(data, "skipped", {}), "mended": getattr(data, "mended", {})}
    counted = (f"; {what}: {', '.join(f'{n} x {reason}' for reason, n in reasons.items())}"
               for what, reasons in changes.items() if reasons)  # fmt: skip
    return f"{data.split}: {len(data)} image{'' if len(data) == 1 else 's'}, {source}{''.join(counted)}"


def model_fields(data: Data) -> dict[str, Any]:
    """The fields of the model's configuration that the data determine."""
    return {
        "num_classes": len(data.class_names),
        "multi_label": data.multi_label,
        "class_names": tuple(data.class_names),
    }


def parse_size(text: str) -> tuple[int, int]:
    """``"320x240"`` -> (320, 240), width and height in pixels.

    Raises:
        ValueError: the text has another form.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if match is None:
        raise ValueError(f"--image-size must be WIDTHxHEIGHT, such as 320x240, got {text!r}")
    return int(match[1]), int(match[2])
