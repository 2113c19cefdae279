"""The text of the CUDA kernels, run on the CPU (tests/cuda_host) with the plans of src/ops/deform_attn_cuda/plan.rs.

Every number is compared with a float64 reference on the same inputs. What this cannot see: real concurrency, the
compiler and the rounding of a GPU.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import dsct._dsct as _dsct
from tests.cuda_host.library import (
    COMPILER,
    KERNEL_TEXT,
    PLANS,
    Compiler,
    Guarded,
    LaunchError,
    Params,
    launch,
    make_params,
)
from tests.reference.deform_attn import ms_deform_attn_gather

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

CASES: dict[str, dict[str, Any]] = PLANS["cases"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
# Of the rounded output, and of everything that is accumulated, relative to the largest number of the tensor.
ROUNDING = {torch.float32: 2e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3, torch.float64: 4e-15}
GRADIENTS = {torch.float32: 4e-6, torch.float16: 4e-6, torch.bfloat16: 4e-6, torch.float64: 2e-14}
EVERYTHING = ("value", "points", "weights")


@dataclass
class Inputs:
    """The tensors of one call and the float64 results."""

    value: Tensor
    reference: Tensor | None
    points: Tensor
    weights: Tensor
    grad_out: Tensor
    expected: dict[str, Tensor]
    bound: float

    @property
    def arithmetic(self) -> torch.dtype:
        return torch.float64 if self.value.dtype == torch.float64 else torch.float32


def make_inputs(call: dict[str, Any], seed: int = 0) -> Inputs:
    """Queries around their own cell where there are as many as cells, anywhere otherwise; some points far outside."""
    generator = torch.Generator().manual_seed(seed)
    b, m, d, q, p, levels = (call[name] for name in ("b", "m", "d", "q", "p", "levels"))
    dtype, size = DTYPES[call["dtype"]], call["reference_size"]
    sizes = torch.tensor([[w, h] for h, w in levels], dtype=torch.float64)
    shape = (b, q, m, len(levels), p)
    centre = torch.rand(b, q, len(levels), 2, dtype=torch.float64, generator=generator)
    if q == sum(h * w for h, w in levels):
        at = [((x + 0.5) / w, (y + 0.5) / h) for h, w in levels for y in range(h) for x in range(w)]
        centre = torch.tensor(at, dtype=torch.float64)[None, :, None].expand(b, -1, len(levels), -1)
    box = torch.cat([centre, 0.1 + 0.8 * torch.rand(centre.shape, dtype=torch.float64, generator=generator)], dim=-1)
    cells = 1.7 * torch.randn(*shape, 2, dtype=torch.float64, generator=generator)  # offsets in cells
    reference, points = None, cells
    if size == 0:
        points = centre[:, :, None, :, None] + cells / sizes[:, None]
    elif size == 2:
        reference = centre
    else:
        reference = box
        points = cells * p  # mostly inside a box or near it
    strange = torch.tensor([math.nan, math.inf, -math.inf, 3e4, -3e4])
    chosen = torch.rand(*shape, 2, generator=generator) < 0.04
    picked = strange[torch.randint(5, (*shape, 2), generator=generator)].double()
    points = torch.where(chosen & (torch.arange(m) == m - 1)[:, None, None, None], picked, points)
    weights = torch.randn(*shape, dtype=torch.float64, generator=generator) * (0.5 if size == 0 else 1.0)
    # Logits that overflow without the maximum taken off.
    weights[:, 0] += 200.0 * (size != 0)
    value = torch.randn(b, int((sizes[:, 0] * sizes[:, 1]).sum()), m, d, dtype=torch.float64, generator=generator)
    grad_out = torch.randn(b, q, m, d, dtype=torch.float64, generator=generator)
    arithmetic = torch.float64 if dtype == torch.float64 else torch.float32
    made = Inputs(
        value.to(dtype),
        None if reference is None else reference.to(arithmetic),
        points.to(DTYPES[call["points_dtype"]]),
        weights.to(DTYPES[call["points_dtype"]]),
        grad_out.to(dtype),
        {},
        0.0,
    )
    made.expected, made.bound = expected_results(made, levels, p)
    return made


def expected_results(inputs: Inputs, levels: list[tuple[int, int]], p: int) -> tuple[dict[str, Tensor], float]:
    """Output and gradients in float64 of exactly the numbers that the kernels get."""
    value, points, weights = (
        t.to(torch.float64, copy=True).requires_grad_() for t in (inputs.value, inputs.points, inputs.weights)
    )
    sizes = torch.tensor([[w, h] for h, w in levels], dtype=torch.float64)[:, None]
    with torch.no_grad():
        if inputs.reference is None:
            at = points * sizes - 0.5
        else:
            reference = inputs.reference.double()[:, :, None, :, None]
            if reference.shape[-1] == 2:
                at = reference * sizes + points - 0.5
            else:
                at = (reference[..., :2] + points / p * reference[..., 2:] * 0.5) * sizes - 0.5
        # Such points touch no cell; the reference cannot floor them.
        at = torch.where(at.isfinite().all(dim=-1, keepdim=True) & (at.abs() < 1e6), at, -9.0)
    cells = at.requires_grad_()
    attention = weights if inputs.reference is None else weights.flatten(-2).softmax(-1).view(weights.shape)
    out = ms_deform_attn_gather(value, levels, (cells + 0.5) / sizes, attention)
    grad_out = inputs.grad_out.double()
    grads = torch.autograd.grad(out, (value, cells, weights), grad_out.flatten(2))
    grad_points = grads[1] * sizes if inputs.reference is None else grads[1]
    bound = (attention.detach().abs().amax(dim=(-2, -1)) * grad_out.abs().amax(dim=-1)).max()
    results = {"out": out.detach().view(grad_out.shape), "value": grads[0], "points": grad_points, "weights": grads[2]}
    return results, float(bound)


class Kernels:
    """One case of the table: its library, inputs and launches."""

    def __init__(self, compiler: Compiler, name: str, text: str = KERNEL_TEXT) -> None:
        self.case = CASES[name]
        self.library = compiler.library(self.case["defines"], text)
        self.inputs = make_inputs(self.case["call"])

    def given(self, *names: str) -> dict[str, Guarded]:
        tensors = {name: getattr(self.inputs, name) for name in names}
        return {name: Guarded(tensor) for name, tensor in tensors.items() if tensor is not None}

    def run(self, plans: list[dict[str, Any]], tensors: dict[str, Guarded], seed: int) -> None:
        for plan in plans:
            launch(self.library, make_params(self.case, plan, tensors), plan, seed)
        for name, guarded in tensors.items():
            guarded.check(name)

    def forward(self, seed: int = -1) -> Tensor:
        tensors = self.given("value", "reference", "points", "weights")
        tensors["out"] = Guarded(torch.full_like(self.inputs.grad_out, math.nan))
        self.run([self.case["forward"]], tensors, seed)
        return tensors["out"].tensor

    def backward(
        self, seed: int = -1, wants: tuple[str, ...] = EVERYTHING, plan: str = "backward", bound: float | None = None
    ) -> dict[str, Tensor]:
        inputs, tensors = self.inputs, self.given("value", "reference", "points", "weights", "grad_out")
        if "value" in wants:
            tensors["grad_value"] = Guarded(torch.zeros_like(inputs.value, dtype=inputs.arithmetic))
        for name in {"points", "weights"} & set(wants):
            like = torch.full_like(getattr(inputs, name), math.nan, dtype=inputs.arithmetic)
            tensors[f"grad_{name}"] = Guarded(like)
        if plan == "deterministic":
            tensors["fixed_point"] = Guarded(torch.zeros_like(inputs.value, dtype=torch.int64))
            tensors["bound"] = Guarded(torch.tensor([inputs.bound if bound is None else bound], dtype=torch.float64))
        if plan == "backward" and "value" not in wants:
            plan = "backward_without_value"
        self.run(self.case[plan], tensors, seed)
        return {name: tensors[f"grad_{name}"].tensor for name in wants}

    def check(self, *seeds: int) -> None:
        expected, dtype = self.inputs.expected, self.inputs.value.dtype
        assert all(tensor.any() for tensor in expected.values())
        for seed in seeds:
            assert_close(self.forward(seed), expected["out"], ROUNDING[dtype])
            for plan in ("backward", "deterministic"):
                for name, got in self.backward(seed, plan=plan).items():
                    assert_close(got, expected[name], GRADIENTS[dtype])


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    error = (got.double() - expected).abs().max().item()
    assert error <= tolerance * expected.abs().max().item() + 1e-300, f"error {error}"  # false for NaN


@pytest.mark.parametrize("name", CASES)
def test_kernels_agree_with_the_reference(compiler: Compiler, name: str) -> None:
    Kernels(compiler, name).check(-1, 1)


@pytest.mark.parametrize("name", ["few-float16-points", "few-float64-boxes", "cells-float32-points"])
def test_bits_do_not_depend_on_the_thread_order(compiler: Compiler, name: str) -> None:
    kernels = Kernels(compiler, name)
    out, grads = kernels.forward(), kernels.backward(plan="deterministic")
    for seed in range(2, 5):
        assert torch.equal(kernels.forward(seed), out)
        again = kernels.backward(seed, plan="deterministic")
        assert all(torch.equal(again[name], grads[name]) for name in EVERYTHING)


@pytest.mark.parametrize("plan", ["backward", "deterministic"])
@pytest.mark.parametrize("name", ["few-float32-points", "cells-narrow-head"])
def test_only_what_is_wanted_is_computed(compiler: Compiler, name: str, plan: str) -> None:
    kernels = Kernels(compiler, name)
    everything = kernels.backward(plan=plan)
    library, exchanges = kernels.library, kernels.library.cuda_host_exchanges()
    for count in (1, 2):
        for wants in itertools.combinations(EVERYTHING, count):
            if plan == "deterministic" and "value" not in wants:
                continue  # the same kernel as without
            grads = kernels.backward(wants=wants, plan=plan)
            assert all(torch.allclose(grads[name], everything[name], rtol=1e-5, atol=1e-6) for name in wants)
            if "value" not in wants:
                assert library.cuda_host_atomics() == 0
            elif wants == ("value",) and plan == "backward":
                assert library.cuda_host_exchanges() < exchanges, "no dot products"


@pytest.mark.parametrize("name", ["few-float32", "cells-float32", "cells-float64"])
def test_fixed_point_holds_the_largest_sum(compiler: Compiler, name: str) -> None:
    """Every point of every query on one cell, with the same weight and gradient."""
    kernels = Kernels(compiler, name)
    inputs, (h, w) = kernels.inputs, kernels.case["call"]["levels"][0]
    column, row = w // 2, h // 2
    inputs.points[..., 0], inputs.points[..., 1] = (column + 0.5) / w, (row + 0.5) / h
    inputs.weights.fill_(0.75)
    inputs.grad_out.fill_(1.0)
    total = 0.75 * inputs.points[0, :, 0, 0].numel() / 2
    for plan in ("backward", "deterministic"):
        grad = kernels.backward(plan=plan, bound=0.75)["value"]
        assert_close(grad[:, row * w + column], torch.full_like(grad[:, 0], total).double(), 1e-6)


def test_without_a_usable_bound(compiler: Compiler) -> None:
    few, cells = Kernels(compiler, "few-float32-points"), Kernels(compiler, "cells-float32-points")
    for kernels in (few, cells):
        assert kernels.backward(plan="deterministic", bound=math.nan)["value"].isnan().all()
        kernels.inputs.grad_out.zero_()
        for plan in ("backward", "deterministic"):
            assert not kernels.backward(plan=plan, bound=0.0)["value"].any()
    # No bound in that tile: its contributions go to global memory, where a NaN reaches what it should reach.
    cells.inputs.grad_out.copy_(torch.randn_like(cells.inputs.grad_out))
    cells.inputs.grad_out[0, 3, 0, 5] = math.nan
    got = cells.backward()["value"]
    assert 0 < got[:, :, 0, 5].isnan().sum() <= 4 * 3 * 2
    got[:, :, 0, 5] = 0
    assert not got.isnan().any()


def test_a_wrong_module_is_refused(compiler: Compiler) -> None:
    kernels = Kernels(compiler, "few-float32")
    kernels.case = {**kernels.case, "hash": kernels.case["hash"] ^ 1}
    for run in (kernels.forward, kernels.backward, lambda: kernels.backward(plan="deterministic")):
        with pytest.raises(LaunchError, match="another specialisation"):
            run()


def test_rust_and_cpp_agree_on_layouts_and_codes(compiler: Compiler) -> None:
    layouts = compiler.layouts(CASES["few-float32"]["defines"])
    assert layouts == PLANS["layouts"]
    assert layouts["DsctDType"] == _dsct.dtype_codes()
    ours = {name: getattr(Params, name).offset for name, _ in Params._fields_}
    assert ours | {"bytes": ctypes.sizeof(Params)} == layouts["DeformAttnParams"]


# What the tests above must notice: (case, text, replacement).
PLANTED = {
    "forward-barrier": ("few-float32", "attention);\n  __syncwarp();\n\n  real_t sum", "attention);\n  real_t sum"),
    "reused-staging": ("cells-float32", "__syncwarp();  // the group's", "// the group's"),
    "backward-barrier": ("few-float32", "    }\n  __syncwarp();\n\n  const bool wants", "    }\n  const bool wants"),
    "dots-barrier": ("few-float32", "  __syncwarp();\n  write_point", "  write_point"),
    "bounds-barrier": ("cells-float32", "group);\n  __syncthreads();", "group);\n  __syncwarp();"),
    "flush-barrier": ("cells-float32", "  __syncthreads();\n  real_t* head", "  __syncwarp();\n  real_t* head"),
    "corners": ("few-float32", "k % 2 ? sample.fx : 1 - sample.fx", "k % 2 ? 1 - sample.fx : sample.fx"),
    "border": ("few-float32", "if (!corner_inside(at, k)) s.at[k] = 0;", ""),
    "width": ("few-float32", "grad.x *= (real_t)params.width", "grad.x *= (real_t)params.height"),
    "softmax-maximum": ("few-float32-points", "exponential(attention[i] - highest)", "exponential(attention[i])"),
    "softmax-gradient": ("few-float32-points", "(grad_attention[i] - mean)", "grad_attention[i]"),
    "divergent-shuffle": ("odd-maps", "if (wants_dots) reduce_dots", "if (wants_dots && mine) reduce_dots"),
    "window-start": ("cells-float32", "window_slot(params.window_start[level] + cell", "window_slot(cell"),
    "window-origin": ("cells-beyond-windows", "memory.origins[2 * level] + cell % width", "cell % width"),
    "beyond-window": (
        "cells-beyond-windows",
        "(base + offset, weight, grad);\n      return;",
        "(base + offset, 0, grad);\n      return;",
    ),
    "shared-overrun": ("few-float32", "kStagedRow = kPoints + 1", "kStagedRow = kPoints + 2"),
    "half-cell": ("few-float32-boxes", "reference[2]) * width - half", "reference[2]) * width"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(compiler: Compiler, bug: str) -> None:
    name, old, new = PLANTED[bug]
    assert old in KERNEL_TEXT
    kernels = Kernels(compiler, name, KERNEL_TEXT.replace(old, new))
    with pytest.raises((LaunchError, AssertionError)):
        kernels.check(-1, 1, 2)
