"""``--resume``: what is given beside it must agree with the run."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dsct.cli.datasets import Description, parse_size
from dsct.cli.options import DatasetName
from dsct.cli.settings import Settings
from dsct.config import DSCTConfig
from dsct.data.layouts.search import seen_from
from dsct.train.run_folder.sound_run import COUNT, FLAG, OBJECT, SHARE, TEXT, list_of, or_none, require_fields

#: Options that only scenes, or only data on disk, have.
OF_SCENES = ("size", "val_size", "image_size", "difficulty", "cache_dir")
OF_FOLDERS = ("data", "annotations", "labels", "val_fraction")


def require_fitting_options(dataset: DatasetName, given: Collection[str]) -> None:
    """Refuses options that say nothing about this data set.

    Raises:
        ValueError: one is given; the message names it.
    """
    is_scenes = dataset is DatasetName.synthetic
    for name in OF_FOLDERS if is_scenes else OF_SCENES:
        if name in given:
            kind = "data on disk" if is_scenes else "synthetic"
            raise ValueError(f"{_flag(name)} is for {kind}, not for {dataset.value}")


def resumed_data(saved: Mapping[str, Any], options: Mapping[str, Any], given: Collection[str]) -> Description:
    """The data of the run, in the place that is named now.

    Args:
        saved: ``config.json`` of the run.
        options: all options of the command by name.
        given: names of those that the user gave.

    Raises:
        FileNotFoundError: the folder of the data is gone, and no other is named.
        ValueError: an option contradicts the run; the message names it and both values.
    """
    data: Description = dict(saved["data"])
    started: Mapping[str, Any] = saved.get("started_with", {})
    sizes, scenes = data.get("sizes", {}), data.get("options", {})
    began = {
        "dataset": data["name"], "labels": data.get("labels"), "val_fraction": data.get("val_fraction"),
        "multi_label": data.get("multi_label", scenes.get("multi_label")), "annotations": data.get("annotations"),
        "size": sizes.get("train"), "val_size": sizes.get("val"), "difficulty": scenes.get("difficulty"),
        "image_size": tuple(scenes.get("image_size", ())), "preset": started.get("preset"),
        "weights": started.get("weights"), "allow_partial": started.get("allow_partial", False),
        "fsdp": started.get("fsdp", False),
    }  # fmt: skip
    now = {name: getattr(options[name], "value", options[name]) for name in began}
    now["image_size"] = parse_size(now["image_size"])
    folder: Path | None = options["data"]
    place = folder if folder is not None else Path(data.get("folder", "."))
    if not place.is_dir() and folder is None:
        raise FileNotFoundError(
            f"there is no folder {place}, where the data of the run were: --data names their new place"
        )
    if now["annotations"] is not None:
        now["annotations"] = str(seen_from(place, now["annotations"]))
        if (
            began["annotations"] is not None
            and (place / now["annotations"]).resolve() == (place / began["annotations"]).resolve()
        ):
            now["annotations"] = began["annotations"]
    if now["weights"] is not None:
        now["weights"] = str(now["weights"].resolve())
    for name, value in now.items():
        moves = name == "annotations" and folder is not None
        if name in {*given, "dataset"} and not moves and value != began[name]:
            if name in ("preset", "weights") and not started:
                raise ValueError(f"{_flag(name)} is not known of this run: leave it out")
            raise ValueError(_contradiction(_flag(name), value, began[name]))
    if folder is not None:
        data["folder"] = str(folder.resolve())
        data["annotations"] = now["annotations"] if "annotations" in given else data.get("annotations")
    return data


def require_sound_source(saved: Mapping[str, Any], path: Path) -> None:
    """Refuses a ``config.json`` that does not say where the data of the run come from.

    Raises:
        ValueError: a field is missing or something else; the message names the file and the field.
    """
    data, where = saved["data"], f"{path}: data"
    names = [name.value for name in DatasetName]
    require_fields(data, {"name": (f"one of {', '.join(names)}", lambda name: name in names)}, where)
    require_fields(data, {"class_names": or_none(list_of(TEXT))}, where, missing=True)
    if data["name"] == DatasetName.synthetic.value:
        require_fields(data, {"sizes": OBJECT, "options": OBJECT}, where)
        require_fields(data["sizes"], {"train": COUNT, "val": COUNT}, f"{where}.sizes")
        scenes = {"multi_label": FLAG, "image_size": list_of(COUNT, 2), "difficulty": SHARE}
        require_fields(data["options"], scenes, f"{where}.options")
        if unknown := sorted(data["options"].keys() - scenes.keys()):
            raise ValueError(f"{where}.options has an unknown field {unknown[0]!r}")
        return
    of_folder = {"folder": TEXT, "annotations": or_none(TEXT), "labels": or_none(TEXT), "multi_label": FLAG}
    require_fields(data, of_folder, where)
    require_fields(data, {"val_fraction": or_none(SHARE)}, where, missing=True)


def resumed_model(saved: Mapping[str, Any], changes: Settings) -> DSCTConfig:
    """The model of the run, which cannot change.

    Raises:
        ValueError: a field contradicts the run; the message names it and both values.
    """
    config = DSCTConfig.from_json(json.dumps(saved["model"]))
    for name, value in changes.model.items():
        if value != getattr(config, name):
            raise ValueError(_contradiction(f"--set {name}", value, getattr(config, name)))
    return config


def _contradiction(what: str, now: Any, began: Any) -> str:
    given = what if now is True else f"{what} {_text(now)}"
    without = began is None or began is False
    return (
        f"{given} contradicts the run, which began {'without it' if without else f'with {_text(began)}'}: give what it "
        "began with, or start another run in another --run-dir"
    )


def _text(value: Any) -> str:
    """As on a command line."""
    if isinstance(value, tuple):
        return ("x" if all(isinstance(one, int) for one in value) else ",").join(map(str, value))
    return str(value)


def _flag(name: str) -> str:
    return name if name == "dataset" else "--" + name.replace("_", "-")
