"""The CUDA launcher without a GPU: real NVRTC, real launch code, and a stand-in for the driver (tests/cuda_host).

Every scenario is a process of its own that finds the stand-in as ``libcuda.so.1``; what it does is in
``cuda_host/scenarios.py``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dsct import _dsct
from tests.cuda_host.library import COMPILER, Compiler
from tests.cuda_host.stand_in import StandIn

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or COMPILER is None, reason="needs Linux and g++"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="a driver is there: see test_deform_attn_cuda.py"),
    pytest.mark.skipif(not _dsct.cuda_status()["nvrtc"][0], reason="this torch brings no NVRTC"),
]
MODULES = 6  # of one dtype: three kinds of reference, forward and backward; twice as many where few queries differ
FEW = {"DSCT_FAKE_MULTIPROCESSORS": "132"}


@pytest.fixture(scope="module")
def stand_in(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    made = StandIn(compiler, tmp_path_factory.mktemp("stand_in"))
    yield made
    made.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of kernels that is empty."""
    return tmp_path / "kernels"


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("reference_size", ["0", "2", "4"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_results_are_those_of_the_cpu(stand_in: StandIn, dtype: str, reference_size: str) -> None:
    stand_in.run("results", dtype, reference_size, **FEW)


@pytest.mark.parametrize(("dtype", "reference_size"), [("float32", "0"), ("bfloat16", "2"), ("float64", "4")])
def test_results_of_a_full_gpu(stand_in: StandIn, dtype: str, reference_size: str) -> None:
    stand_in.run("results", dtype, reference_size)


@pytest.mark.parametrize("scenario", ["mixed_dtypes", "misaligned", "unsupported"])
def test_awkward_tensors(stand_in: StandIn, scenario: str) -> None:
    stand_in.run(scenario, **FEW)


def test_the_environment_turns_the_kernels_off(stand_in: StandIn) -> None:
    stand_in.run("composite", DSCT_CUDA_KERNELS="off")


# ---------------------------------------------------------------- devices, threads, processes


def test_two_devices_and_the_stream_of_the_caller(stand_in: StandIn) -> None:
    refused, thread = stand_in.run("devices", DSCT_FAKE_CAPABILITIES="90,80")
    assert "cuDeviceGet(2)" in refused
    assert "CUDA_ERROR_INVALID_DEVICE" in refused
    assert thread == "thread 0"


@pytest.mark.parametrize(("capability", "is_text"), [("90", "0"), ("75", "0"), ("99", "1"), ("123", "1")])
def test_a_gpu_that_the_compiler_does_not_know(stand_in: StandIn, capability: str, is_text: str) -> None:
    assert stand_in.run("newer_gpu", DSCT_FAKE_CAPABILITIES=capability) == [is_text]


def test_a_gpu_that_is_too_old(stand_in: StandIn) -> None:
    (line, *_) = stand_in.run("fails", DSCT_FAKE_CAPABILITIES="61")
    assert "compute capability 6.1 is too old" in line


def test_a_forked_child_is_refused_in_the_words_of_torch(stand_in: StandIn) -> None:
    before, after = stand_in.run("fork")
    assert before.split() == ["0"]
    assert after.startswith("1 Cannot re-initialize CUDA in forked subprocess")
    assert "'spawn' start method" in after


def test_threads_wait_for_one_compilation(stand_in: StandIn, cache: Path) -> None:
    (line,) = stand_in.run("warm_in_threads", DSCT_KERNEL_CACHE=str(cache), **FEW)
    assert line.split() == [str(2 * MODULES), "0", str(3 * 2 * MODULES)]


# ---------------------------------------------------------------- the cache


def counts(stand_in: StandIn, cache: Path | str) -> list[list[int]]:
    """Compiled, read from disk, loaded before: at the first and at the second warmup of a process."""
    lines = stand_in.run("warm", "float32", DSCT_KERNEL_CACHE=str(cache))
    return [[int(number) for number in line.split()] for line in lines]


ALL_COMPILED = [[MODULES, 0, 0], [0, 0, MODULES]]
ALL_READ = [[0, MODULES, 0], [0, 0, MODULES]]


@pytest.fixture(scope="module")
def filled(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that one process has filled; tests change a copy."""
    made = tmp_path_factory.mktemp("filled") / "kernels"
    assert counts(stand_in, made) == ALL_COMPILED
    assert made.stat().st_mode & 0o777 == 0o700
    return made


@pytest.fixture
def cache_with_all(filled: Path, cache: Path) -> Path:
    return Path(shutil.copytree(filled, cache))


def test_memory_then_disk_and_torn_entries_are_made_anew(stand_in: StandIn, cache_with_all: Path) -> None:
    cache = cache_with_all
    assert counts(stand_in, cache) == ALL_READ
    torn, altered, *whole = sorted(cache.iterdir())
    assert len(whole) == MODULES - 2
    torn.write_bytes(torn.read_bytes()[:-1])
    altered.write_bytes(altered.read_bytes()[:-1] + b"!")
    assert counts(stand_in, cache) == [[2, MODULES - 2, 0], [0, 0, MODULES]]
    assert counts(stand_in, cache) == ALL_READ


def test_a_directory_that_others_can_write_is_refused(stand_in: StandIn, cache_with_all: Path) -> None:
    cache = cache_with_all
    cache.chmod(0o770)
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert counts(stand_in, cache) == ALL_COMPILED, "nothing is read from there"
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before, "nor written"
    assert f"cache False {cache}: refused, it can be written by others" in stand_in.run(
        "status", DSCT_KERNEL_CACHE=str(cache)
    )


@pytest.mark.parametrize("setting", ["off", "/proc/nowhere"])
def test_no_directory_is_no_error(stand_in: StandIn, setting: str) -> None:
    assert counts(stand_in, setting) == ALL_COMPILED


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        ("cuLaunchKernel=701", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
        ("cuModuleLoadData=200", "CUDA_ERROR_INVALID_IMAGE"),
        ("cuModuleGetFunction=500", "CUDA_ERROR_NOT_FOUND"),
    ],
)
def test_a_failure_names_the_kernel_and_has_the_words_of_the_driver(stand_in: StandIn, failure: str, name: str) -> None:
    line, advice, *_ = stand_in.run("fails", DSCT_FAKE_FAIL=failure)
    call, code = failure.split("=")
    assert line.startswith("ms_deform_attn: CUDA kernel deform_attn_forward")
    assert f": {call}" in line
    assert line.endswith(f": words of the driver ({name}, {code})")
    assert "DSCT_CUDA_KERNELS=off" in advice


@pytest.mark.parametrize(
    ("failure", "call"),
    [("cuInit=100", "cuInit"), ("cuDevicePrimaryCtxRetain=2", "cuDevicePrimaryCtxRetain"),
     ("cuCtxPushCurrent_v2=201", "cuCtxPushCurrent")],
)  # fmt: skip
def test_a_device_that_cannot_be_used(stand_in: StandIn, failure: str, call: str) -> None:
    line, *_ = stand_in.run("fails", DSCT_FAKE_FAIL=failure)
    assert line.startswith(f"ms_deform_attn: {call}: words of the driver (CUDA_ERROR_")


def test_no_driver(stand_in: StandIn) -> None:
    (line, *_) = stand_in.run("fails", LD_LIBRARY_PATH="")
    assert line.startswith("ms_deform_attn: the CUDA driver cannot be opened: libcuda.so.1: ")
    (row,) = (line for line in stand_in.run("status", LD_LIBRARY_PATH="") if line.startswith("driver"))
    assert row.startswith("driver False the CUDA driver cannot be opened: ")
