"""``dsct.warmup`` where there is no GPU; with one: test_deform_attn_cuda.py."""

from __future__ import annotations

import pytest
import torch

import dsct


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "meta"])
def test_other_devices_need_nothing(device: torch.device | str) -> None:
    assert dsct.warmup(device) == 0


def test_kernels_that_are_off_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSCT_CUDA_KERNELS", "off")
    assert dsct.warmup("cuda") == 0
    assert dsct.info()["ms_deform_attn on CUDA"].endswith("DSCT_CUDA_KERNELS=off")


def test_a_dtype_without_kernels_is_named() -> None:
    with pytest.raises(TypeError, match=r"dtype must be one of torch.float32, .*, got torch.int8"):
        dsct.warmup("cuda", torch.int8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", 0])
def test_no_gpu_is_named(device: str | int) -> None:
    with pytest.raises(RuntimeError, match=r"warmup: device must be a GPU that torch can use, got 'cuda"):
        dsct.warmup(device)
