"""On a GPU: operator, whole model and training step, against every peer that is there, and against the floor.

Peers of the operator: the grid_sample formulation, the original extension ``MultiScaleDeformableAttention`` and Hugging
Face's hub kernel, the last two only if they can be imported. The floor is the time of copying as many bytes as the call
must at least read and write. Without a GPU this prints one sentence.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import program
from .agreement import require
from .bench_model import forward, image
from .bench_ops import HALF_TOLERANCE, PASSES, TOLERANCES, bound, plain_tensors, step
from .bench_ops import ours as our_operator
from .bench_training import batch, check, our_step, their_step
from .machine import version
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired
from .workloads.operator_inputs import FULL, TINY, Inputs, Shapes, grid_sample_attention, make
from .workloads.twins import QUICK, Sizes, twins

Op = Callable[..., Tensor]
BATCH = 4
OPERATORS = (our_operator, grid_sample_attention)


def event_clock(call: Callable[[], Any]) -> float:
    """Seconds on the GPU between two events around the call.

    The GPU sleeps for about a millisecond before, while the call is queued: short kernels do not wait for Python.
    """
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000)
    start.record()
    result = call()
    end.record()
    end.synchronize()
    del result
    return start.elapsed_time(end) / 1e3


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most memory that tensors take during the call, over what they took before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    torch.cuda.synchronize()
    del result
    return torch.cuda.max_memory_allocated() - before


def compulsory_bytes(tensors: tuple[Tensor, ...], which: str) -> int:
    """What value, locations, weights and output must move at least once.

    Backward reads the gradient of the output and the three inputs and writes three gradients, that of value in the
    arithmetic type and twice: zeros first, then sums, since many samples add to one cell. With its forward pass, as the
    benchmark calls it, both count.
    """
    value, locations, weights = tensors
    output = value.shape[0] * locations.shape[1] * value.shape[2] * value.shape[3] * value.element_size()
    inputs = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    forward = inputs + output
    if which == "forward":
        return forward
    arithmetic = max(value.element_size(), 4)
    gradients = 2 * value.numel() * arithmetic + sum(t.numel() * t.element_size() for t in (locations, weights))
    return forward + inputs + output + gradients


def copy_bandwidth(megabytes: int = 1024) -> float:
    """Bytes per second, read and written, of a copy on the current GPU: the best of ten."""
    source = torch.empty(megabytes << 20, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    best = min(event_clock(lambda: target.copy_(source)) for _ in range(10))
    return 2 * source.numel() / best


class Extension(torch.autograd.Function):
    """The two functions that the original extension and Hugging Face's kernel have in common."""

    @staticmethod
    def forward(ctx: Any, module: Any, value: Tensor, sizes: tuple[Tensor, Tensor], *tensors: Tensor) -> Tensor:
        """Value, (shapes, starts), locations, weights."""
        ctx.module, ctx.sizes = module, sizes
        ctx.save_for_backward(value, *tensors)
        return module.ms_deform_attn_forward(value, *sizes, *tensors, value.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """To value, locations and weights."""
        value, locations, weights = ctx.saved_tensors
        to_value, to_locations, to_weights = ctx.module.ms_deform_attn_backward(
            value, *ctx.sizes, locations, weights, gradient.contiguous(), value.shape[0]
        )
        return None, to_value, None, to_locations, to_weights


def extension_operator(module: Any) -> Op:
    """The operator of such a module under our call."""
    sizes: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    def operator(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
        key = (*map(tuple, shapes), value.device)
        if key not in sizes:  # on the GPU once: their callers keep these tensors over the layers
            pairs = torch.tensor(shapes, device=value.device)
            sizes[key] = pairs, torch.cat((pairs.new_zeros(1), pairs.prod(1).cumsum(0)[:-1]))
        return Extension.apply(module, value, sizes[key], locations, weights)

    return operator


def peers() -> tuple[dict[str, Op], list[str]]:
    """Peers by name, and why others are missing."""
    found, missing = {"grid_sample": grid_sample_attention}, []
    for name, load in (
        ("original extension", lambda: importlib.import_module("MultiScaleDeformableAttention")),
        (
            "Hugging Face hub kernel",
            lambda: importlib.import_module("kernels").get_kernel("kernels-community/deformable-detr"),
        ),
    ):
        try:
            found[name] = extension_operator(load())
        except Exception as error:  # never required, whatever the reason: no package, no network, no build
            missing.append(f"{name} ({type(error).__name__})")
    return found, missing


def cast(inputs: Inputs, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Value in `dtype`; locations and weights stay in float32, as under autocast."""
    value, locations, weights = plain_tensors(inputs)
    return value.to(dtype), locations, weights


def tolerances(which: str, dtype: torch.dtype) -> list[float]:
    """Between ours in `dtype` and a peer in float32."""
    return [max(tolerance, HALF_TOLERANCE.get(dtype, 0.0)) for tolerance in TOLERANCES[which]]


def operator_table(options: Options) -> Table:
    """Every pass, dtype and peer."""
    others, missing = peers()
    bandwidth = copy_bandwidth(64 if options.quick else 1024)
    table = Table(
        "operator",
        ["queries", "dtype", "pass", "peer", *COMPARISON_COLUMNS, "floor, ms", "ours / floor"],
        note=f"Batch {BATCH}, points within 2 cells of their reference points. In 16 bits ours has value and output in "
        "16 bits; the peers always have float32. Floor: the bytes that must move, at the speed of a copy on this card, "
        f"{bandwidth / 1e9:,.0f} GB/s; the decoder's inputs may stay in the cache between calls. "
        + (f"Not there: {', '.join(missing)}." if missing else ""),
    )
    for name, queries in (("encoder", None), ("decoder", 304)):
        inputs = make(TINY if options.quick else FULL, queries, batch=BATCH, device="cuda")
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for which in PASSES:
                tensors = cast(inputs, dtype)
                floor = compulsory_bytes(tensors, which) / bandwidth
                mine = step(bound(our_operator, inputs), tensors, which)
                for peer_name, operator in others.items():
                    peer = step(bound(operator, inputs), plain_tensors(inputs), which)
                    require(f"operator, {name}, {dtype}, {peer_name}", mine(), peer(), tolerances(which, dtype))
                    comparison = paired(mine, peer, options.budget, event_clock)
                    table.compare([name, str(dtype).removeprefix("torch."), which, peer_name], comparison)
                    table.rows[-1] += [floor * 1e3, comparison.ours_median / floor]
    return table


def model_tables(options: Options) -> list[Table]:
    """Whole model and training step against Hugging Face, same weights: time and memory."""
    time = Table(
        "plain Deformable DETR against Hugging Face",
        ["what", "dtype", *COMPARISON_COLUMNS],
        note="Model: 800 x 1066 pixels, batch 1, evaluation. Training step: 480 x 640 pixels, batch 2, forward, loss "
        "and backward; matching waits for the CPU. TF32 as torch has it: on for convolutions.",
    )
    memory = Table("peak memory of tensors over what was there", ["what", "ours, MB", "peer, MB", "peer / ours"])
    ours, theirs = (model.cuda().eval() for model in twins(QUICK if options.quick else Sizes()))
    images = image(options.quick).cuda()
    batched, subjects = batch(options.quick)
    subjects = [{name: tensor.cuda() for name, tensor in one.items()} for one in subjects]
    mine, peer = our_step(ours, batched.cuda(), subjects), their_step(theirs, batched.cuda(), subjects)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        first, second = forward(ours, images)(), forward(theirs, images)()
        require("model", [first["pred_logits"], first["pred_boxes"]], [second.logits, second.pred_boxes], (1e-4, 1e-4))
        check(ours, theirs, mine, peer)
    for dtype, name in ((None, "float32"), (torch.bfloat16, "bfloat16 autocast")):
        sides = forward(ours.eval(), images, dtype), forward(theirs.eval(), images, dtype)
        time.compare(["whole model", name], paired(*sides, options.budget, event_clock))
    ours.train()
    theirs.train()
    time.compare(["training step", "float32"], paired(mine, peer, options.budget, event_clock))
    operator = make(TINY if options.quick else FULL, None, batch=BATCH, device="cuda")
    attention = [step(bound(op, operator), plain_tensors(operator), PASSES[1]) for op in OPERATORS]
    for what, pair in (("training step", (mine, peer)), ("operator and grid_sample, encoder", attention)):
        bytes_of = [peak_bytes(call) for call in pair]
        memory.rows.append([what, *(count / 1e6 for count in bytes_of), bytes_of[1] / bytes_of[0]])
    return [time, memory]


def measure(options: Options) -> list[Table]:
    """All tables."""
    return [operator_table(options), *model_tables(options)]


def main() -> None:
    """Measure, or say that there is nothing to measure on."""
    if not torch.cuda.is_available():
        print("bench_cuda: no NVIDIA GPU here, nothing measured.")
        return
    card = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, kernels {version('kernels')}"
    program.run("cuda", __doc__, measure, device=card)


if __name__ == "__main__":
    main()
