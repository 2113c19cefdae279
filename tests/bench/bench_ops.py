"""The operator on a CPU: forward and backward, against grid_sample, in half precision, fused, and its memory.

Sizes are those of an image of 800 x 1066 pixels: 4 levels, 17,821 cells, 8 heads of 32 channels, 4 points per level,
batch 1. The encoder asks from every cell, the decoder with 304 queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

import dsct

from . import peak_memory, program
from .agreement import require
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired
from .workloads.operator_inputs import (
    FULL,
    TINY,
    Inputs,
    attention_weights,
    grid_sample_attention,
    make,
    sampling_locations,
)

Op = Callable[..., Tensor]
Step = Callable[[], tuple[Tensor, ...]]
PASSES = ("forward", "forward + backward")
# Within rounding of a cell's border, left and right derivative are both right: a few samples in a million differ.
TOLERANCES = {"forward": (1e-4,), "forward + backward": (1e-4, 1e-2, 1e-4)}
HALF_TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


def ours(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The public call."""
    return dsct.ops.ms_deform_attn(value, shapes, None, locations, weights)


def has_fused() -> bool:
    """Whether the installed build has the operator with softmax and location arithmetic inside."""
    return hasattr(torch.ops.dsct, "ms_deform_attn_fused")


def bound(op: Op, inputs: Inputs) -> Op:
    """(value, locations, weights) of an operator that also takes the shapes."""
    return lambda value, locations, weights: op(value, inputs.shapes, locations, weights)


def plain_tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """Arguments of `bound`."""
    return inputs.value, inputs.locations(), inputs.weights()


def fused_tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """Arguments of `fused_function` and `composed_function`."""
    return inputs.value, inputs.reference, inputs.offsets, inputs.logits


def step(function: Op, tensors: tuple[Tensor, ...], which: str) -> Step:
    """Forward without graph, or forward and backward to every tensor with a fixed gradient of the output."""
    if which == "forward":

        def forward() -> tuple[Tensor, ...]:
            with torch.no_grad():
                return (function(*tensors),)

        return forward

    leaves = tuple(tensor.detach().clone().requires_grad_() for tensor in tensors)
    value, queries = tensors[0], tensors[1].shape[1]
    shape = (value.shape[0], queries, value.shape[2] * value.shape[3])
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(value)

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(*leaves), leaves, gradient)

    return both


def cases(quick: bool) -> list[tuple[str, int | None]]:
    """Name and number of queries; None is one per cell."""
    return [("encoder", None), ("decoder", 20 if quick else 304)]


def against_grid_sample(options: Options) -> Table:
    """Forward and backward in float32."""
    shapes = TINY if options.quick else FULL
    table = Table(
        "float32 against grid_sample",
        ["queries", "points", "pass", *COMPARISON_COLUMNS],
        note="Points: `near` lie 2 cells (standard deviation) around their reference point, `uniform` anywhere. "
        "Backward is to value, locations and weights.",
    )
    for name, queries in cases(options.quick):
        for near in (True, False):
            inputs = make(shapes, queries, near)
            for which in PASSES:
                mine = step(bound(ours, inputs), plain_tensors(inputs), which)
                peer = step(bound(grid_sample_attention, inputs), plain_tensors(inputs), which)
                require(f"operator, {name}, {which}", mine(), peer(), TOLERANCES[which])
                labels = [name, "near" if near else "uniform", which]
                table.compare(labels, paired(mine, peer, options.budget))
    return table


def half_precision(options: Options) -> Table:
    """Value and output in 16 bits, locations and weights in float32, as under autocast."""
    table = Table(
        "16 bits against our own float32",
        ["dtype", "queries", "pass", *COMPARISON_COLUMNS],
        note="The peer is this operator in float32. 16-bit calls have value and output in 16 bits, compute in float32.",
    )
    for dtype in (torch.float16, torch.bfloat16):
        for name, queries in cases(options.quick):
            inputs = make(TINY if options.quick else FULL, queries)
            half = replace(inputs, value=inputs.value.to(dtype))
            for which in PASSES:
                mine = step(bound(ours, half), plain_tensors(half), which)
                peer = step(bound(ours, inputs), plain_tensors(inputs), which)
                expected = peer()
                require(f"operator, {dtype}, {which}", mine(), expected, [HALF_TOLERANCE[dtype]] * len(expected))
                labels = [str(dtype).removeprefix("torch."), name, which]
                table.compare(labels, paired(mine, peer, options.budget))
    return table


def fused_function(inputs: Inputs) -> Op:
    """(value, reference, offsets, logits) in one call."""
    return lambda value, reference, offsets, logits: torch.ops.dsct.ms_deform_attn_fused(
        value, inputs.flat, reference, offsets, logits
    )


def composed_function(inputs: Inputs) -> Op:
    """The same as softmax, location arithmetic and the plain operator."""
    return lambda value, reference, offsets, logits: ours(
        value, inputs.shapes, sampling_locations(reference, offsets, inputs.shapes), attention_weights(logits)
    )


def bytes_kept(function: Op, tensors: tuple[Tensor, ...]) -> int:
    """What autograd keeps for the backward pass: every storage once, inputs among them."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    leaves = tuple(tensor.detach().clone().requires_grad_() for tensor in tensors)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = function(*leaves)
    del output
    return sum(kept.values())


def fused(options: Options) -> Table:
    """The fused operator against softmax + location arithmetic + plain operator."""
    table = Table(
        "fused operator against softmax, location arithmetic and the plain operator",
        ["queries", "pass", *COMPARISON_COLUMNS],
        note="Both sides are ours. Backward is to value, reference points, offsets and logits.",
    )
    tolerances = {"forward": (1e-4,), "forward + backward": (1e-4, 1e-2, 1e-2, 1e-4)}
    for name, queries in cases(options.quick):
        inputs = make(TINY if options.quick else FULL, queries)
        for which in PASSES:
            mine = step(fused_function(inputs), fused_tensors(inputs), which)
            peer = step(composed_function(inputs), fused_tensors(inputs), which)
            require(f"fused operator, {name}, {which}", mine(), peer(), tolerances[which])
            table.compare([name, which], paired(mine, peer, options.budget))
    return table


def memory_side(side: str, quick: bool) -> tuple[Op, tuple[Tensor, ...]]:
    """Function and arguments of one side, encoder."""
    inputs = make(TINY if quick else FULL, None)
    if side in ("ours", "grid_sample"):
        return bound(ours if side == "ours" else grid_sample_attention, inputs), plain_tensors(inputs)
    return {"fused": fused_function, "composed": composed_function}[side](inputs), fused_tensors(inputs)


def memory_step(side: str, which: str, quick: bool) -> Step:
    """Its step, for a process of its own."""
    return step(*memory_side(side, quick), which)


def memory(options: Options) -> Table:
    """Peak of a step in a fresh process, and what autograd keeps."""
    table = Table(
        "memory, encoder, float32",
        ["ours", "peer", "what", "ours, MB", "peer, MB", "peer / ours"],
        note="Peak: resident memory over the inputs, each in a fresh process. Kept for backward: every storage that "
        "autograd holds, inputs included. MB = 10^6 bytes.",
    )
    for sides in [("ours", "grid_sample"), *([("fused", "composed")] if has_fused() else [])]:
        rows = {"kept for backward": [bytes_kept(*memory_side(side, options.quick)) for side in sides]}
        for which in PASSES:
            arguments = {"which": which, "quick": options.quick}
            rows[f"peak, {which}"] = [
                peak_memory.of_step("bench_ops:memory_step", side=side, **arguments) for side in sides
            ]
        for what, (mine, peer) in rows.items():
            table.rows.append([*sides, what, mine / 1e6, peer / 1e6, peer / max(mine, 1)])
    return table


def measure(options: Options) -> list[Table]:
    """All tables; the fused operator only where the build has it."""
    tables = [against_grid_sample(options), half_precision(options)]
    if has_fused():
        tables.append(fused(options))
    return [*tables, memory(options)]


if __name__ == "__main__":
    program.run("ops", __doc__, measure)
