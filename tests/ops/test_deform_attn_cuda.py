"""``ms_deform_attn`` and its fused form on a real GPU; without one: test_deform_attn_cuda_launch.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import dsct

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

PYRAMID = [(17, 23), (9, 12), (5, 6), (3, 3)]
CELLS = sum(h * w for h, w in PYRAMID)
SHAPES = [size for pair in PYRAMID for size in pair]
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}
KINDS = [0, 2, 4]  # plain, reference points, boxes


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def make_inputs(
    dtype: torch.dtype, kind: int, *, batch: int = 2, queries: int = 11, heads: int = 8, channels: int = 32
) -> list[Tensor]:
    """On the CPU: value, [reference], points, weights; some points outside."""
    shape = (batch, queries, heads, len(PYRAMID), 4)
    value = torch.randn(batch, CELLS, heads, channels, dtype=torch.float64)
    points = torch.rand(*shape, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(shape, dtype=torch.float64)
    arithmetic = torch.float64 if dtype == torch.float64 else torch.float32
    if kind == 0:
        return [value.to(dtype), points.to(arithmetic), weights.to(arithmetic)]
    reference = torch.rand(batch, queries, len(PYRAMID), kind, dtype=torch.float64)
    return [value.to(dtype), reference.to(arithmetic), (3 * points).to(dtype), weights.to(dtype)]


def operator(inputs: list[Tensor]) -> Any:
    return torch.ops.dsct.ms_deform_attn if len(inputs) == 3 else torch.ops.dsct.ms_deform_attn_fused


def call(inputs: list[Tensor]) -> Tensor:
    value, *rest = inputs
    out: Tensor = operator(inputs)(value, SHAPES, *rest)
    return out


def run(inputs: list[Tensor], device: str | torch.device) -> list[Tensor]:
    """Output and gradients for the same seed, on a device."""
    leaves = [t.detach().to(device).requires_grad_() for t in inputs]
    out = call(leaves)
    seed = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape).to(out)
    return [out.detach(), *torch.autograd.grad(out, leaves, seed)]


def assert_as_on_cpu(inputs: list[Tensor], found: list[Tensor]) -> None:
    for name, a, b in zip(("out", "value", "…", "…", "…"), found, run(inputs, "cpu"), strict=False):
        assert a.dtype == b.dtype, name
        atol = TOLERANCE[inputs[0].dtype] * max(1.0, b.abs().max().item())
        torch.testing.assert_close(a.cpu(), b, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("queries", [1, 11, CELLS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_equals_the_cpu_kernel(dtype: torch.dtype, kind: int, queries: int) -> None:
    inputs = make_inputs(dtype, kind, queries=queries)
    assert_as_on_cpu(inputs, run(inputs, "cuda"))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_full_gpu_runs_in_tiles(dtype: torch.dtype) -> None:
    inputs = make_inputs(dtype, 2, batch=48, queries=CELLS)
    assert_as_on_cpu(inputs, run(inputs, "cuda"))


@pytest.mark.parametrize(
    "sizes", [{"heads": 3, "channels": 64}, {"heads": 1, "channels": 8}, {"heads": 2, "channels": 7}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_other_sizes(kind: int, sizes: dict[str, int]) -> None:
    inputs = make_inputs(torch.float32, kind, **sizes)
    assert_as_on_cpu(inputs, run(inputs, "cuda"))


@pytest.mark.parametrize("empty", [{"batch": 0}, {"queries": 0}])
@pytest.mark.parametrize("kind", KINDS)
def test_empty(kind: int, empty: dict[str, int]) -> None:
    inputs = make_inputs(torch.float32, kind, **empty)
    found = run(inputs, "cuda")
    assert [t.shape for t in found] == [t.shape for t in run(inputs, "cpu")]


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: int) -> None:
    inputs = [
        t.cuda().requires_grad_() for t in make_inputs(torch.float64, kind, batch=1, queries=2, heads=2, channels=2)
    ]
    assert torch.autograd.gradcheck(lambda *tensors: call(list(tensors)), inputs, nondet_tol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_opcheck(kind: int) -> None:
    value, *rest = (t.cuda().requires_grad_() for t in make_inputs(torch.float32, kind, queries=3))
    torch.library.opcheck(operator([value, *rest]).default, (value, SHAPES, *rest), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_deterministic_bits(dtype: torch.dtype) -> None:
    inputs = make_inputs(dtype, 2, queries=CELLS)
    inputs[1] = inputs[1] * 0.01  # all queries in one corner: every addition meets another
    first, *others = (run(inputs, "cuda") for _ in range(5))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert_as_on_cpu(inputs, first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_autocast(kind: int, dtype: torch.dtype) -> None:
    leaves = [t.cuda().requires_grad_() for t in make_inputs(torch.float32, kind)]
    with torch.autocast("cuda", dtype):
        out = call(leaves)
    assert out.dtype == dtype
    out.float().sum().backward()
    assert all(t.grad is not None and t.grad.dtype == torch.float32 for t in leaves)
    expected = call([t.detach() for t in leaves])
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=TOLERANCE[dtype] * expected.abs().max().item())


def test_composite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSCT_CUDA_KERNELS", "off")
    for kind in KINDS:
        inputs = make_inputs(torch.float32, kind)
        assert_as_on_cpu(inputs, run(inputs, "cuda"))


# ---------------------------------------------------------------- memory, streams, threads, devices


@pytest.mark.parametrize("kind", KINDS)
def test_misaligned_views(kind: int) -> None:
    inputs = make_inputs(torch.float32, kind)
    shifted = [torch.cat([t.new_zeros(1), t.flatten()]).cuda()[1:].view(t.shape).requires_grad_() for t in inputs]
    assert all(t.is_contiguous() and t.data_ptr() % 16 for t in shifted)
    torch.testing.assert_close(call(shifted).cpu(), call(inputs), rtol=0, atol=1e-4)
    call(shifted).sum().backward()


def test_side_stream() -> None:
    """The inputs are ready late, and only on the side stream: a kernel on another one would read zeros."""
    inputs = make_inputs(torch.float32, 0)
    on_gpu = [t.cuda() for t in inputs]
    late = torch.zeros_like(on_gpu[0])
    dsct.warmup("cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(on_gpu[0])
        out = call([late, *on_gpu[1:]])
    stream.synchronize()
    torch.testing.assert_close(out.cpu(), call(inputs), rtol=0, atol=1e-4)


def test_fresh_threads() -> None:
    """Neither a new thread nor autograd's has a current context of its own accord."""
    inputs = make_inputs(torch.float32, 2)
    expected, found = run(inputs, "cuda"), []
    threads = [threading.Thread(target=lambda: found.append(run(inputs, "cuda"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for other in found:
        for a, b in zip(other, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_graph_capture(kind: int) -> None:
    assert dsct.warmup("cuda") > 0
    leaves = [t.cuda().requires_grad_() for t in make_inputs(torch.float32, kind)]

    def step() -> list[Tensor]:
        out = call(leaves)
        return [out, *torch.autograd.grad(out, leaves, torch.ones_like(out))]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        leaves[0].mul_(-2.0)
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(captured, step(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def test_first_call_inside_a_capture() -> None:
    """Sizes that nothing has compiled yet: the load must not end the capture."""
    value, *rest = (t.cuda() for t in make_inputs(torch.float32, 0, heads=5, channels=24))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call([value, *rest])
    graph.replay()
    torch.testing.assert_close(out.cpu(), call([t.cpu() for t in (value, *rest)]), rtol=0, atol=1e-4)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_second_device() -> None:
    inputs = make_inputs(torch.float32, 4)
    assert torch.cuda.current_device() == 0
    assert_as_on_cpu(inputs, run(inputs, "cuda:1"))
    assert torch.cuda.current_device() == 0


def test_warmup_is_done_once() -> None:
    loaded = dsct.warmup("cuda", torch.float16)
    assert loaded == dsct.warmup(torch.cuda.current_device(), torch.float16) > 0
    assert dsct.info()["ms_deform_attn on CUDA"].startswith("native kernels")
