"""How cost grows with image size, batch, queries and threads, for the operator and the model on a CPU.

Writes `docs/benchmark_scaling.png` beside the table. Evaluation, float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from . import program
from .agreement import require
from .bench_model import forward
from .bench_ops import bound, ours, plain_tensors, step
from .machine import ROOT
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import Budget, Comparison, paired
from .workloads.operator_inputs import Shapes, grid_sample_attention, make
from .workloads.twins import QUICK, Sizes, full, hugging_face

Sides = tuple[Callable[[], Any], Callable[[], Any]]
PLOT = ROOT / "docs" / "benchmark_scaling.png"
OPERATOR, MODEL = "operator, forward", "model, evaluation"


@dataclass
class Curve:
    """One panel: what varies, and the comparison at every value."""

    what: str
    axis: str
    peer: str
    values: list[int] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def milliseconds(self) -> dict[str, list[float]]:
        """Medians of both sides at every value."""
        return {
            "dsct": [one.ours_median * 1e3 for one in self.comparisons],
            self.peer: [one.peer_median * 1e3 for one in self.comparisons],
        }


@dataclass(frozen=True)
class Grid:
    """Values along every axis, and the sizes that stay."""

    short_sides: tuple[int, ...] = (320, 480, 640, 800)
    batches: tuple[int, ...] = (1, 2, 4)
    queries: tuple[int, ...] = (100, 300, 1000, 3000)
    threads: tuple[int, ...] = (1, 2)
    fixed: int = 480
    sizes: Sizes = field(default_factory=Sizes)


TINY_GRID = Grid((64, 96), (1, 2), (10, 20), (1, 2), 64, QUICK)


def image_size(short_side: int) -> tuple[int, int]:
    """3 to 4, the long side rounded down; 800 gives 1066."""
    return short_side, short_side * 4 // 3


def levels(height: int, width: int) -> Shapes:
    """Maps at strides 8, 16, 32 and 64."""
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in (8, 16, 32, 64)]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """`count` threads for torch and for the operator."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def operator_sides(short_side: int, queries: int | None = None, batch: int = 1) -> Sides:
    """Forward of ours and of grid_sample, which agree."""
    inputs = make(levels(*image_size(short_side)), queries, batch=batch)
    mine, peer = (step(bound(op, inputs), plain_tensors(inputs), "forward") for op in (ours, grid_sample_attention))
    require(f"operator, {short_side}, {queries}, {batch}", mine(), peer(), (1e-4,))
    return mine, peer


def model_sides(models: tuple[nn.Module, nn.Module], short_side: int, batch: int = 1) -> Sides:
    """Forward of ours and of the peer on random images. They are of one size, not the same function."""
    images = torch.randn(batch, 3, *image_size(short_side))
    return forward(models[0], images), forward(models[1], images)


def curve(what: str, axis: str, values: tuple[int, ...], sides_at: Callable[[int], Sides], options: Options) -> Curve:
    """Measure along one axis."""
    budget = Budget(min(options.budget.repeats, 7), options.budget.seconds / 3, 1)
    result = Curve(what, axis, "grid_sample" if what == OPERATOR else "Hugging Face", list(values))
    for value in values:
        with threads(value if axis == "threads" else options.threads):
            result.comparisons.append(paired(*sides_at(value), budget))
    return result


def curves(options: Options) -> list[Curve]:
    """Seven panels."""
    grid = TINY_GRID if options.quick else Grid()
    models = full(grid.sizes).eval(), hugging_face(grid.sizes).eval()
    biggest = grid.short_sides[-1]
    side, batch = "short side of the image, pixels", "batch"
    return [
        curve(OPERATOR, side, grid.short_sides, operator_sides, options),
        curve(OPERATOR, batch, grid.batches, lambda n: operator_sides(grid.fixed, batch=n), options),
        curve(OPERATOR, "queries", grid.queries, lambda n: operator_sides(biggest, n), options),
        curve(OPERATOR, "threads", grid.threads, lambda _: operator_sides(biggest), options),
        curve(MODEL, side, grid.short_sides, lambda n: model_sides(models, n), options),
        curve(MODEL, batch, grid.batches, lambda n: model_sides(models, grid.fixed, n), options),
        curve(MODEL, "threads", grid.threads, lambda _: model_sides(models, grid.fixed), options),
    ]


def table(measured: list[Curve]) -> Table:
    """One row per point."""
    result = Table(
        "growth",
        ["what", "axis", "value", *COMPARISON_COLUMNS],
        note="The operator's peer is grid_sample, the model's (DSCT) is Hugging Face's Deformable DETR. Images are 3 "
        "to 4. Batch and the model's threads at 480 x 640 pixels; the operator's queries and threads at 800 x 1066; "
        "where queries do not vary there is one per cell.",
    )
    for one in measured:
        for value, comparison in zip(one.values, one.comparisons, strict=True):
            result.compare([one.what, one.axis, str(value)], comparison)
    return result


def plot(measured: list[Curve], path: Any) -> None:
    """One panel per curve, both axes logarithmic, so that a straight line of slope 1 is proportional growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    # Okabe and Ito's colours; marker and dash tell the sides apart without any.
    ours_style, peer_style = ("#0072B2", "o", "-"), ("#D55E00", "s", "--")
    columns = math.ceil(len(measured) / 2)
    figure, axes = pyplot.subplots(2, columns, figsize=(3.4 * columns, 6.4), layout="constrained")
    for axis in axes.flat[len(measured) :]:
        axis.set_visible(False)
    for axis, one in zip(axes.flat, measured, strict=False):
        for name, milliseconds in one.milliseconds.items():
            colour, marker, dash = ours_style if name == "dsct" else peer_style
            axis.plot(one.values, milliseconds, color=colour, marker=marker, linestyle=dash, label=name)
        axis.set(xscale="log", yscale="log", title=one.what, xlabel=one.axis, ylabel="milliseconds")
        axis.set_xticks(one.values, [str(value) for value in one.values])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for direction in (axis.xaxis, axis.yaxis):
            direction.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def measure(options: Options) -> list[Table]:
    """Table and figure; tiny sizes draw nothing."""
    measured = curves(options)
    if not options.quick:
        plot(measured, PLOT)
    return [table(measured)]


if __name__ == "__main__":
    program.run("scaling", __doc__, measure)
