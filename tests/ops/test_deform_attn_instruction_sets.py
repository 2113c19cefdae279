"""Both operators give the same numbers with every instruction set; the environment names one before the import."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dsct import _dsct
from tests.ops.test_deform_attn import LEVELS, flat
from tests.ops.test_deform_attn import inputs as plain_inputs
from tests.ops.test_deform_attn_fused import inputs as fused_inputs

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
Results = dict[str, list[Tensor]]


def differentiate(name: str, value: Tensor, others: tuple[Tensor, ...]) -> list[Tensor]:
    """Output and gradients of every argument."""
    tensors = [t.requires_grad_() for t in (value, *others)]
    out = getattr(torch.ops.dsct, name)(tensors[0], flat(LEVELS), *tensors[1:])
    seed = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, tensors, seed)]


def results() -> Results:
    """Channels in blocks of 32, 8 and single ones; queries enough for copied rows, and too few."""
    found = {}
    for dtype, d, q in product(FLOATS, (4, 43), (3, 9)):
        sizes = {"d": d, "q": q, "p": 3, "dtype": dtype}
        value, *others = plain_inputs(**sizes)
        found[f"plain {dtype} D={d} Q={q}"] = differentiate("ms_deform_attn", value, others)
        for size in (2, 4):
            value, *others = fused_inputs(size, **sizes)
            found[f"fused {size} {dtype} D={d} Q={q}"] = differentiate("ms_deform_attn_fused", value, others)
    return found


@pytest.fixture(scope="module")
def here() -> Results:
    return results()


@pytest.mark.parametrize("asked", ["baseline", "avx2"])
def test_every_instruction_set_gives_the_same_numbers(asked: str, here: Results, tmp_path: Path) -> None:
    if asked == "avx2" and _dsct.cpu_instruction_set() != "AVX-512":
        pytest.skip("this process uses AVX2 itself, or the processor has less")
    environment = {**os.environ, "DSCT_CPU": asked, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(tmp_path / "results.pt")]
    name = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert name in ({"AVX2"} if asked == "avx2" else {"baseline", "NEON"})
    there = torch.load(tmp_path / "results.pt")
    assert there.keys() == here.keys()
    for key, tensors in here.items():
        for ours, theirs in zip(tensors, there[key], strict=True):
            # A half number is rounded once, from float32 numbers that differ in their last bits.
            relative = torch.finfo(ours.dtype).eps if ours.dtype in (torch.float16, torch.bfloat16) else 1e-6
            scale = max(1.0, ours.abs().max().item())
            assert torch.allclose(ours, theirs, rtol=relative, atol=1e-6 * scale), key


if __name__ == "__main__":
    torch.save(results(), sys.argv[1])
    print(_dsct.cpu_instruction_set())
