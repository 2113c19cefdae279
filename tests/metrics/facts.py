"""What an evaluation without files would say it was of, for reports."""

from __future__ import annotations

from typing import Any

FACTS: dict[str, Any] = {
    "weights": "a.safetensors",
    "weights_sha256": "0",
    "run": None,
    "data": {
        "description": "none",
        "folder": None,
        "left_out": {},
        "mended": {},
        "unreadable": [],
        "fingerprint": None,
    },
    "class_names": [],
    "multi_label": False,
    "protocol_definitions": {"official": "as released"},
    "nms_iou": 0.5,
    "batches": {"size": 8, "handling": "equal sizes"},
    "device": "cpu",
    "versions": {},
}
