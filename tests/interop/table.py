"""Prints the documentation's table of packages whose attention is exchanged: ``python -m tests.interop.table``.

Each package runs in a process of its own, with the folder that ``make test-python`` installs them in on its path: they
change settings of libraries when they are imported. Models have random weights; nothing is downloaded.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dsct.interop.attention import accelerate_attention, restore_attention
from dsct.interop.transformers import accelerate
from tests.comparison import randomise

FOLDER = Path(sysconfig.get_path("data")) / "peers"
ROOT = Path(__file__).parents[2]


def _rfdetr() -> tuple[nn.Module, Callable[[nn.Module], Any], str]:
    from rfdetr.config import RFDETRNanoConfig
    from rfdetr.models.lwdetr import build_model_from_config

    config = RFDETRNanoConfig(pretrain_weights="none.pth", device="cpu")
    images = torch.rand(1, 3, config.resolution, config.resolution)
    return (
        build_model_from_config(config),
        lambda model: model(images),
        f"RF-DETR nano, {config.resolution} × {config.resolution}",
    )


def _ultralytics() -> tuple[nn.Module, Callable[[nn.Module], Any], str]:
    from ultralytics.nn.tasks import RTDETRDetectionModel

    images = torch.rand(1, 3, 320, 320)
    # What follows sorts by score, and equal scores of random weights may change places.
    return RTDETRDetectionModel("rtdetr-resnet50.yaml", verbose=False), lambda m: m(images)[1], "RT-DETR R50, 320 × 320"


def _mmcv() -> tuple[nn.Module, Callable[[nn.Module], Any], str]:
    class Compiled(types.ModuleType):
        """The part that needs a compiler, and that is not called on the CPU."""

        __file__ = "none"

        def __getattr__(self, name: str) -> None:
            if name.startswith("__"):
                raise AttributeError(name)

    sys.modules["mmcv._ext"] = Compiled("mmcv._ext")
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention

    shapes = torch.tensor([[60, 80], [30, 40], [15, 20], [8, 10]])
    cells = int(shapes.prod(-1).sum())
    query, points = torch.randn(1, cells, 256), torch.rand(1, cells, 4, 2)
    starts = torch.cat((shapes.new_zeros(1), shapes.prod(-1).cumsum(0)[:-1]))

    def run(module: nn.Module) -> Any:
        return module(query, reference_points=points, spatial_shapes=shapes, level_start_index=starts)

    return MultiScaleDeformableAttention(batch_first=True), run, "the module, 4 levels of 480 × 640"


#: Name on the package index -> builder of a model, what to run, and what it is.
PACKAGES: dict[str, Callable[[], tuple[nn.Module, Callable[[nn.Module], Any], str]]] = {
    "rfdetr": _rfdetr,
    "ultralytics": _ultralytics,
    "onedl-mmcv": _mmcv,
}


def measure(package: str) -> dict[str, Any]:
    """A row of the table, in this process."""
    torch.manual_seed(0)
    model, run, name = PACKAGES[package]()
    for module in model.modules():
        if hasattr(module, "sampling_offsets"):
            randomise(module, 0.05)
    result = accelerate(model.eval(), trial=run, verbose=False)
    return {
        "package": f"{package} {importlib.metadata.version(package)}",
        "model": name,
        "exchanged": len(result.exchanged),
        "difference": result.difference,
        "ratio": _ratio(model, run),
    }


@torch.no_grad()
def _ratio(model: nn.Module, run: Callable[[nn.Module], Any], rounds: int = 5) -> float:
    """Seconds without over seconds with our operator, the fastest of each, in turns: other programs disturb both."""
    fastest = {accelerate_attention: math.inf, restore_attention: math.inf}
    for _ in range(rounds):
        for change in fastest:
            change(model)
            began = time.perf_counter()
            run(model)
            fastest[change] = min(fastest[change], time.perf_counter() - began)
    return fastest[restore_attention] / fastest[accelerate_attention]


def measured_apart(package: str) -> dict[str, Any]:
    """A row of the table, from a process of its own.

    Raises:
        RuntimeError: the process failed; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as settings:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")]), str(FOLDER)]),
            "YOLO_CONFIG_DIR": settings, "YOLO_OFFLINE": "1", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.interop.table", package]
        done = subprocess.run(command, env=environment, cwd=settings, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{package} ended with {done.returncode}: {done.stderr[-2000:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    """The row of the package that is named, as JSON, or the whole table."""
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1])))
        return
    print("| package | model, random weights | modules | largest difference | forward pass |\n|---|---|---|---|---|")
    for package in PACKAGES:
        row = measured_apart(package)
        print(f"| {row['package']} | {row['model']} | {row['exchanged']} | {row['difference']:.0e} "
              f"| {row['ratio']:.2f} times as fast |")  # fmt: skip


if __name__ == "__main__":
    main()
