"""The whole model on a CPU: ResNet-50, an image of 800 x 1066 pixels, batch 1, evaluation.

Against Hugging Face's Deformable DETR in eager mode with random weights, and against the time of the model's own
convolutions and matrix products alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from . import program
from .agreement import distance, require
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired
from .workloads.replay import counts, record, replay
from .workloads.twins import QUICK, Sizes, full, twins

Forward = Callable[[], Any]


def image(quick: bool) -> Tensor:
    """(1, 3, H, W)."""
    return torch.randn(1, 3, *((96, 128) if quick else (800, 1066)))


def forward(model: nn.Module, images: Tensor, dtype: torch.dtype | None = None) -> Forward:
    """A call in evaluation; `dtype` is autocast's."""

    def call() -> Any:
        with torch.no_grad(), torch.autocast(images.device.type, dtype=dtype, enabled=dtype is not None):
            return model(images)

    return call


def against_hugging_face(options: Options, ours: nn.Module, theirs: nn.Module, images: Tensor) -> Table:
    """Same weights and same numbers first, then the paper's model, then bfloat16."""
    table = Table(
        "whole model against Hugging Face",
        ["ours", "peer", *COMPARISON_COLUMNS],
        note="The plain model computes what the peer computes. DSCT has 304 queries and relational aggregation in "
        "every decoder layer, which the peer has not.",
    )
    mine, peer = forward(ours, images), forward(theirs, images)
    first, second = mine(), peer()
    outputs = (first["pred_logits"], first["pred_boxes"]), (second.logits, second.pred_boxes)
    require("plain model", *outputs, (1e-5, 1e-5))
    table.compare(["plain Deformable DETR, float32", "float32"], paired(mine, peer, options.budget))
    paper = full(QUICK if options.quick else Sizes()).eval()
    table.compare(["DSCT, float32", "float32"], paired(forward(paper, images), peer, options.budget))
    low = torch.bfloat16
    error = distance(forward(ours, images, low)()["pred_logits"].float(), first["pred_logits"])
    half = forward(paper, images, low)
    table.compare(["DSCT, bfloat16 autocast", "float32"], paired(half, peer, options.budget))
    note = f"{table.note} Under bfloat16 the logits of the plain model differ by {error:.1%} (norm) from float32."
    return Table(table.title, table.columns, table.rows, note, table.samples)


def against_products(
    options: Options, model: nn.Module, name: str, images: Tensor, table: Table, dtype: torch.dtype | None = None
) -> None:
    """Model against the sum of its own convolutions and matrix products."""
    step = forward(model, images, dtype)
    calls = record(step)
    comparison = paired(replay(calls), step, options.budget)
    table.compare([name, counts(calls)], comparison)


def measure(options: Options) -> list[Table]:
    """Both tables."""
    images = image(options.quick)
    sizes = QUICK if options.quick else Sizes()
    ours, theirs = twins(sizes)
    ours.eval()
    theirs.eval()
    products = Table(
        "model against its own convolutions and matrix products alone",
        ["model", "operations", "products, ms", "model, ms", "model / products", "quartiles", "pairs"],
        note="The operations of one forward pass, recorded with shapes, strides and dtypes, and run again on "
        "random tensors: what remains is the share of everything else.",
    )
    paper = full(sizes).eval()
    against_products(options, paper, "DSCT", images, products)
    against_products(options, paper, "DSCT, bfloat16 autocast", images, products, torch.bfloat16)
    against_products(options, ours, "plain Deformable DETR", images, products)
    against_products(options, theirs, "Hugging Face", images, products)
    return [against_hugging_face(options, ours, theirs, images), products]


if __name__ == "__main__":
    program.run("model", __doc__, measure)
