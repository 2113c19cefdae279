"""A training step on a CPU: forward, matching, loss and backward; batch 2 of 480 x 640 pixels, ResNet-50.

Time in pairs, and the peak of a first step in a process of its own. The peer is Hugging Face's Deformable DETR with the
loss it computes itself from labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import dsct

from . import peak_memory, program
from .agreement import require
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired
from .workloads.replay import record, replay
from .workloads.twins import QUICK, Sizes, Targets, full, hugging_face, hugging_face_targets, plain, targets, twins

Step = Callable[[], Tensor]
BOXES = 5


def batch(quick: bool, multi_label: bool = False) -> tuple[Tensor, Targets]:
    """Images (2, 3, H, W) without padding, and 5 subjects in each."""
    images = torch.randn(2, 3, *((96, 128) if quick else (480, 640)))
    return images, targets(2, BOXES, multi_label)


def our_step(model: dsct.DSCT, images: Tensor, subjects: Targets) -> Step:
    """Forward, all losses of all layers, backward; returns the loss."""
    criterion = dsct.SetCriterion(model.config)

    def step() -> Tensor:
        model.zero_grad(set_to_none=True)
        loss = criterion.total(criterion(model(images), subjects))
        loss.backward()
        return loss.detach()

    return step


def their_step(model: nn.Module, images: Tensor, subjects: Targets) -> Step:
    """The same of Hugging Face's model. Its loss also counts predictions for the log, a small part."""
    labels = hugging_face_targets(subjects)

    def step() -> Tensor:
        model.zero_grad(set_to_none=True)
        loss: Tensor = model(images, labels=labels).loss
        loss.backward()
        return loss.detach()

    return step


def gradient_norm(model: nn.Module) -> Tensor:
    """Of all parameters together."""
    return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()


def check(ours: dsct.DSCT, theirs: Any, mine: Step, peer: Step) -> None:
    """Same loss, same gradient; without dropout, whose random numbers differ."""
    ours.eval()
    theirs.eval()
    losses = mine(), peer()
    require("training step", losses[:1], losses[1:], (1e-4,))
    require("training step, gradient", [gradient_norm(ours)], [gradient_norm(theirs)], (1e-3,))
    trained = [sum(p.numel() for p in m.parameters() if p.grad is not None) for m in (ours, theirs)]
    if trained[0] != trained[1]:
        raise AssertionError(f"training step: {trained[0]} parameters train, {trained[1]} of the peer")
    ours.train()
    theirs.train()


def time_table(options: Options) -> Table:
    """Pairs in one process."""
    table = Table(
        "training step against Hugging Face, time",
        ["ours", *COMPARISON_COLUMNS],
        note="float32, dropout on. Plain Deformable DETR: same weights, and loss and gradient norm were equal before. "
        "DSCT: the paper's model for EMOTIC, with several labels per person.",
    )
    sizes = QUICK if options.quick else Sizes()
    ours, theirs = twins(sizes)
    images, subjects = batch(options.quick)
    mine, peer = our_step(ours, images, subjects), their_step(theirs, images, subjects)
    check(ours, theirs, mine, peer)
    table.compare(["plain Deformable DETR"], paired(mine, peer, options.budget))
    _, emotions = batch(options.quick, multi_label=True)
    paper = our_step(full(sizes).train(), images, emotions)
    table.compare(["DSCT"], paired(paper, peer, options.budget))
    return table


def operator_seconds(step: Step) -> float:
    """Deformable attention in one step, forward and backward."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    events = profiled.key_averages()
    return sum(e.self_cpu_time_total for e in events if e.key.startswith("dsct::ms_deform_attn")) / 1e6


def floor_table(options: Options) -> Table:
    """What no library that calls the same products could go below."""
    table = Table(
        "training step against its own convolutions and matrix products",
        [
            "of",
            "step, ms",
            "products alone, ms",
            "operator in it, ms",
            "step / products",
            "peer / products",
            "peer / (products + operator)",
        ],
        note="Products: recorded in one step, forward and backward, and run again alone on tensors of the same layout. "
        "Operator: deformable attention, by torch's profiler. The last two columns are the ratios that a step would "
        "reach if everything else took no time.",
    )
    sizes = QUICK if options.quick else Sizes()
    ours, theirs = twins(sizes)
    images, subjects = batch(options.quick)
    mine, peer = our_step(ours, images, subjects), their_step(theirs, images, subjects)
    products = replay(record(mine, gradients=True))
    alone = paired(products, mine, options.budget)
    against = paired(products, peer, options.budget)
    operator = operator_seconds(mine)
    bound = against.peer_median / (against.ours_median + operator)
    milliseconds = [1e3 * seconds for seconds in (alone.peer_median, alone.ours_median, operator)]
    table.rows.append(["plain Deformable DETR", *milliseconds, alone.ratio, against.ratio, bound])
    return table


def memory_step(side: str, quick: bool) -> Step:
    """One side alone, for a process of its own."""
    sizes = QUICK if quick else Sizes()
    images, subjects = batch(quick, multi_label=side == "DSCT")
    if side == "peer":
        return their_step(hugging_face(sizes).train(), images, subjects)
    model = (full if side == "DSCT" else plain)(sizes)
    return our_step(model.train(), images, subjects)


def memory_table(options: Options) -> Table:
    """Peak over model, images and targets."""
    table = Table(
        "training step against Hugging Face, peak memory",
        ["ours", "ours, MB", "peer, MB", "peer / ours"],
        note="Resident memory of a first step over that of model, images and targets, gradients included; each in a "
        "fresh process. MB = 10^6 bytes.",
    )
    peer = peak_memory.of_step("bench_training:memory_step", side="peer", quick=options.quick)
    for side in ("plain Deformable DETR", "DSCT"):
        mine = peak_memory.of_step("bench_training:memory_step", side=side, quick=options.quick)
        table.rows.append([side, mine / 1e6, peer / 1e6, peer / mine])
    return table


def measure(options: Options) -> list[Table]:
    """Time, its floor, memory."""
    return [time_table(options), floor_table(options), memory_table(options)]


if __name__ == "__main__":
    program.run("training", __doc__, measure)
