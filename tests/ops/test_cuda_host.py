"""The harness that runs CUDA text on the CPU: what it computes and what it must find."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from tests.cuda_host.library import COMPILER, Compiler, LaunchError, launch

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

TEXT = """
struct DeformAttnParams { int* out; int n; };
#define KERNEL(name) extern "C" __global__ void name(const DeformAttnParams p)

KERNEL(shuffles) {
  const int lane = threadIdx.x;
  int sum = lane;
  for (int step = 1; step < 32; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  const int up = __shfl_up_sync(0xffffffffu, lane, 1, 8), down = __shfl_down_sync(0xffffffffu, lane, 3u);
  const int seventh = __shfl_sync(0xffffffffu, lane, 7, 16);
  const unsigned even = __ballot_sync(0xffffffffu, lane % 2 == 0);
  p.out[lane] = sum + 1000 * up + 100000 * down + 10000000 * seventh + (even == 0x55555555u ? 0 : -1);
}
KERNEL(reverse) {
  __shared__ int shared[64];
  shared[threadIdx.x] = threadIdx.x;
  __syncthreads();
  p.out[blockIdx.x * 64 + threadIdx.x] = shared[63 - threadIdx.x];
}
KERNEL(reverse_without_barrier) {
  __shared__ int shared[64];
  shared[threadIdx.x] = threadIdx.x;
  p.out[blockIdx.x * 64 + threadIdx.x] = shared[63 - threadIdx.x];
}
KERNEL(stale) {
  __shared__ int shared[64];
  if (blockIdx.x == 0) shared[threadIdx.x] = 7;
  p.out[blockIdx.x * 64 + threadIdx.x] = shared[threadIdx.x];
}
KERNEL(overrun) {
  DSCT_SHARED_MEMORY(shared);
  shared[threadIdx.x] = (unsigned char)p.n;
}
KERNEL(absent_lane) { p.out[threadIdx.x] = __shfl_xor_sync(0x1u, p.n, 1); }
KERNEL(not_in_mask) { __syncwarp(0x1u); p.out[threadIdx.x] = p.n; }
KERNEL(divergent) {
  if (threadIdx.x < 16) __syncwarp();
  else p.out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, p.n, 1);
}
KERNEL(count) { atomicAdd(p.out, 1); }
KERNEL(order) { p.out[threadIdx.x] = atomicAdd(p.out + 64, 1); }
"""


class Params(ctypes.Structure):
    _fields_ = (("out", ctypes.POINTER(ctypes.c_int)), ("n", ctypes.c_int))


@pytest.fixture(scope="module")
def library(compiler: Compiler) -> ctypes.CDLL:
    return compiler.library([], TEXT)


def run(library: ctypes.CDLL, kernel: str, seed: int = -1, **shape: Any) -> list[int]:
    out = (ctypes.c_int * 256)()
    plan = {"kernel": kernel, "grid": [1, 1, 1], "block": 32, "shared_bytes": 0} | shape
    launch(library, Params(out, 5), plan, seed)
    return list(out)


@pytest.mark.parametrize("seed", [-1, 0, 1])
def test_warp_operations(library: ctypes.CDLL, seed: int) -> None:
    def expected(lane: int) -> int:
        up, down = lane - (lane % 8 > 0), lane + 3 * (lane < 29)
        return 496 + 1000 * up + 100000 * down + 10000000 * (lane // 16 * 16 + 7)

    assert run(library, "shuffles", seed)[:32] == [expected(lane) for lane in range(32)]


@pytest.mark.parametrize("seed", [-1, 0, 1])
def test_barriers_and_shared_memory(library: ctypes.CDLL, seed: int) -> None:
    backwards = list(range(63, -1, -1))
    assert run(library, "reverse", seed, grid=[2, 1, 1], block=64)[:128] == backwards * 2
    assert run(library, "reverse_without_barrier", seed, block=64)[:64] != backwards


def test_shared_memory_does_not_survive_a_block(library: ctypes.CDLL) -> None:
    assert run(library, "stale", grid=[2, 1, 1], block=64)[:128] == [7] * 64 + [-1] * 64


def test_every_thread_of_every_block_runs(library: ctypes.CDLL) -> None:
    assert run(library, "count", grid=[3, 2, 2], block=96)[0] == 3 * 2 * 2 * 96
    assert library.cuda_host_atomics() == 3 * 2 * 2 * 96


def test_the_seed_makes_the_order(library: ctypes.CDLL) -> None:
    in_order, even, odd = (run(library, "order", seed, block=64)[:64] for seed in (-1, 2, 3))
    assert in_order == list(range(64))
    assert sorted(even) == sorted(odd) == in_order
    assert even == run(library, "order", 2, block=64)[:64] != run(library, "order", 4, block=64)[:64]
    assert {odd[lane] // 32 for lane in range(32)} in ({0}, {1}), "one warp ahead of the other"


@pytest.mark.parametrize(
    ("kernel", "shape", "message"),
    [
        ("overrun", {"shared_bytes": 31}, "behind its shared memory"),
        ("absent_lane", {"block": 1}, "does not take part"),
        ("not_in_mask", {}, "not in the mask"),
        ("divergent", {}, "deadlock"),
        ("count", {"block": 1025}, "more threads"),
        ("count", {"shared_bytes": 228 << 10}, "more shared memory"),
    ],
)
def test_errors_are_found(library: ctypes.CDLL, kernel: str, shape: dict[str, Any], message: str) -> None:
    with pytest.raises(LaunchError, match=message):
        run(library, kernel, **shape)
