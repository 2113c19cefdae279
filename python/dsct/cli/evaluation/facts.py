"""What a score depends on, for the report: weights, data, the run they belong to, batches, protocols, versions."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dsct
from dsct.checkpoint.files import BEST
from dsct.cli.datasets import Data, Description, describe
from dsct.json_text import read_json
from dsct.metrics import DEFINITIONS, Evaluator

BATCHES = "only images of equal size run together, and none is padded: no score depends on the batch size"


def weights_file(weights: Path) -> Path:
    """The file of weights: of the folder of a run that of its best epoch.

    Raises:
        FileNotFoundError: the folder contains none.
    """
    if not weights.is_dir():
        return weights
    if not (weights / BEST).is_file():
        raise FileNotFoundError(f"--weights must be a file or the folder of a run, there is no {BEST} in {weights}")
    return weights / BEST


def val_fraction_of_run(weights: Path, name: str) -> float | None:
    """The share of validation data with which the run in whose folder the weights are cut data of this name.

    With another share, images that it trained on would be evaluated as validation data.
    """
    trained_on = _data_of_run(weights)
    fraction = trained_on.get("val_fraction") if trained_on.get("name") == name else None
    return fraction if isinstance(fraction, float) else None


def _data_of_run(weights: Path) -> dict[str, Any]:
    """The description of its data; empty where there is no run, or the file is another program's."""
    try:
        described = read_json(weights.parent / "config.json")["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return described if isinstance(described, dict) else {}


def facts_of(
    weights: Path, data: Data, about: Description, evaluator: Evaluator, batch_size: int, device: torch.device
) -> dict[str, Any]:
    """In JSON's types; the description of the data is that which opened them."""
    return {
        "weights": weights.name,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "run": relation_to_run(weights, data, about),
        "data": {
            "name": about["name"],
            "split": data.split,
            "folder": about.get("folder"),
            "options": about.get("options"),
            "description": describe(data),
            "source": getattr(data, "source", "synthetic scenes"),
            "images": len(data),
            "left_out": dict(getattr(data, "skipped", {})),
            "mended": dict(getattr(data, "mended", {})),
            "unreadable": [],  # filled by the evaluation
            "fingerprint": getattr(data, "fingerprint", None),
        },
        "class_names": list(evaluator.class_names),
        "multi_label": evaluator.multi_label,
        "protocol_definitions": DEFINITIONS,
        "nms_iou": evaluator.nms_iou,
        "batches": {"size": batch_size, "handling": BATCHES},
        "device": str(device),
        "versions": {
            "dsct": dsct.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def relation_to_run(weights: Path, data: Data, about: Description) -> str | None:
    """What the data are to the run in whose folder the weights are, as a sentence; None where there is no run."""
    trained_on = _data_of_run(weights)
    try:
        split = _same_split(trained_on, data, about)
    except (KeyError, TypeError, AttributeError):
        return None  # no run, or the file of another program
    name = f"the run {weights.parent.resolve().name}"
    if split == "train":
        return f"these are the training data of {name}: the score says nothing about other images"
    if split == "val":
        return f"these are the validation data of {name}: its best epoch was chosen by them"
    if split is None:
        return f"whether these data are those of {name} is not known: it has no fingerprints of them"
    return f"these are neither the training data nor the validation data of {name}"


def _same_split(trained_on: dict[str, Any], data: Data, about: Description) -> str | None:
    """``"train"``, ``"val"``, ``""`` for other data, None if that cannot be told."""
    fingerprint = getattr(data, "fingerprint", None)
    known = trained_on.get("fingerprints") or {}
    if fingerprint is not None and known:
        return next((split for split, digest in known.items() if digest == fingerprint), "")
    if trained_on["name"] != about["name"]:
        return ""
    if about["name"] != "synthetic":
        return None
    # Scene i of a split does not depend on how many there are.
    same = json.loads(json.dumps(about["options"])) == trained_on["options"]
    return data.split if same and data.split in trained_on["sizes"] else ""
