"""Values do not change once they are made, so that they can be shared; what is filled step by step is listed."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from typing import Any

import dsct

FILLED = {
    "dsct.checkpoint.pretrained._Copy",
    "dsct.cli.figures.images.Images",
    "dsct.cli.figures.option_groups.Out",
    "dsct.cli.figures.option_groups.Predicting",
    "dsct.data.annotation_files.raw_annotations.Changes",
    "dsct.data.annotation_files.raw_annotations.RawImage",
    "dsct.data.annotation_tools.export.ToolImage",
    "dsct.data.checks.findings.Findings",
    "dsct.data.checks.overlaps.Pairs",
    "dsct.train.progress.Progress",
}


def test_values_are_frozen_but_for_what_is_filled() -> None:
    classes: dict[str, Any] = {}
    for module in pkgutil.walk_packages(dsct.__path__, "dsct."):
        if not module.name.endswith("__main__"):
            for name, member in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(member) and member.__module__ == module.name and dataclasses.is_dataclass(member):
                    classes[f"{module.name}.{name}"] = member
    assert len(classes) > 50
    assert {name for name, kind in classes.items() if not kind.__dataclass_params__.frozen} == FILLED
