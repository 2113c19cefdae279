"""``config.json`` of a run: model, recipe, how it was started, and which data it began with."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dsct.complete_files import replaced_when_complete
from dsct.config import DSCTConfig
from dsct.data.records import Dataset
from dsct.json_text import read_json_object
from dsct.train.config import TrainConfig
from dsct.train.run_folder.sound_run import require_sound_run

NAME = "config.json"


def describe_data(description: Mapping[str, Any], train: Dataset, val: Dataset) -> dict[str, Any]:
    """The description of the data, with what tells whether they are the same later.

    Args:
        description: where they come from, as plain data.
        train: the training data.
        val: the validation data.

    Returns:
        The description with ``class_names``, and by split ``images`` (how many) and ``fingerprints`` (of classes and
        annotations; None for a data set without ``fingerprint``).
    """
    splits = {"train": train, "val": val}
    names = getattr(train, "class_names", None)
    return {
        **description,
        "class_names": None if names is None else list(names),
        "images": {split: len(data) for split, data in splits.items()},
        "fingerprints": {split: getattr(data, "fingerprint", None) for split, data in splits.items()},
    }


def require_same_data(saved: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Refuses data other than those with which a run began; where they are does not matter.

    Args:
        saved: as the run describes them.
        given: the same of the data that are there now.

    Returns:
        A sentence if the run does not say enough to compare, else None.

    Raises:
        ValueError: the data differ; the message names how.
    """
    if "fingerprints" not in saved:
        return "the run does not say which data it began with: they are not compared"
    began, now = saved["class_names"], given["class_names"]
    if began != now:
        raise ValueError(f"the run began with the classes {_listed(began)}; the data now have {_listed(now)}")
    differing = []
    for split in ("train", "val"):
        before, after = saved["images"][split], given["images"][split]
        if before != after:
            differing.append(f"{split} had {before} images, now {after}")
        elif saved["fingerprints"][split] != given["fingerprints"][split]:
            differing.append(f"the annotations of {split} have changed, still {after} images")
    if differing:
        raise ValueError(
            f"the run began with other data: {'; '.join(differing)}; bring the old data back, or start a new run from "
            "the weights of this one (--weights)"
        )
    return None


def write_run(run_dir: Path, about: Mapping[str, Any]) -> None:
    """Writes ``config.json``, replacing an older one only once it is complete."""
    with replaced_when_complete(run_dir / NAME) as partial:
        partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def read_run(run_dir: Path) -> dict[str, Any]:
    """What ``config.json`` of a run says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or a field in it is not what a trainer writes.
    """
    path = run_dir / NAME
    if not path.is_file():
        raise FileNotFoundError(f"no run to resume in {run_dir}: {path} does not exist")
    saved = read_json_object(path)
    if not {"model", "train", "data"} <= saved.keys():
        raise ValueError(f"{path} must hold model, train and data of a run, got {_listed(saved)}")
    require_sound_run(saved, path)
    return saved


def describe_run(
    model: DSCTConfig, recipe: TrainConfig, data: Mapping[str, Any], started_with: Mapping[str, Any], processes: int
) -> dict[str, Any]:
    """The content of ``config.json``.

    Args:
        model: configuration of the model.
        recipe: how it trains.
        data: of :func:`describe_data`.
        started_with: what else decided how the run began.
        processes: that train together.
    """
    return {
        "model": json.loads(model.to_json()),
        "train": json.loads(recipe.to_json()),
        "data": dict(data),
        "started_with": dict(started_with),
        "processes": processes,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def gone_on(saved: Mapping[str, Any], now: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """The description of a run that goes on: how it began, but where its data are and how long it shall be now.

    Args:
        saved: the content of ``config.json``.
        now: the same of this call.
        say: is told if the data cannot be compared.

    Raises:
        ValueError: the data differ.
    """
    note = require_same_data(saved["data"], now["data"])
    if note is not None:
        say(f"note: {note}")
    return {**now, **saved, "train": now["train"], "data": {**saved["data"], **now["data"]}}


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) if names else "none"
