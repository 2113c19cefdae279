"""``dsct info --compile``: NVRTC needs no GPU."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from dsct import _dsct
from dsct.cli import app, compiled_kernels
from dsct.cli.compiled_kernels import Compiled, compile_kernels

pytestmark = pytest.mark.skipif(not _dsct.cuda_status()["nvrtc"][0], reason="this torch brings no NVRTC")
KERNELS = {
    "deform_attn_forward",
    "deform_attn_forward_tiled",
    "deform_attn_backward",
    "deform_attn_backward_fixed_point",
    "deform_attn_from_fixed_point",
    "deform_attn_backward_tiled",
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_kernel_spills(dtype: torch.dtype) -> None:
    kernels = compile_kernels(90, dtype)
    assert kernels.keys() == KERNELS
    assert all(0 < kernel.registers <= 128 for kernel in kernels.values())
    assert not any(kernel.local_bytes for kernel in kernels.values())
    assert all(kernel.cubin_bytes > 10_000 for kernel in kernels.values())


def info(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["info", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("local_bytes", [0, 8])
def test_a_spill_ends_with_an_error(monkeypatch: pytest.MonkeyPatch, local_bytes: int) -> None:
    found = {"some_kernel": Compiled(40, local_bytes, 0, 20_000)}
    monkeypatch.setattr(compiled_kernels, "compile_kernels", lambda *_: found)
    code, output = info("--compile", "80,90")
    assert code == (local_bytes > 0)
    assert "sm_80" in output
    assert "sm_90" in output
    assert ("sm_90 float64: some_kernel spills 8 bytes" in output) == (local_bytes > 0)


def test_wrong_architectures_are_named() -> None:
    assert info("--compile", "ninety") == (
        1,
        "error: --compile must list compute capabilities such as 80,90,100, got 'ninety'",
    )
    code, output = info("--compile", "42")
    assert code == 1
    assert "NVRTC compiles for [75, " in output
    assert output.endswith("got 42")
