"""What a process does that meets the stand-in for the CUDA driver.

``python scenarios.py`` imports torch once and forks a process per scenario, each with a driver, modules and an
environment of its own: see ``serve``.

Tensors of the CPU go to the kernels that are registered for CUDA, and their results are compared with the operators
on the CPU. ``test_deform_attn_cuda_launch.py`` starts these.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import threading
import traceback
from typing import Any

import torch
from torch import Tensor

try:
    from dsct import _dsct
except ImportError:  # of the operators alone there is a library, too
    from dsct.any_torch.library import PATH as LIBRARY
else:
    LIBRARY = _dsct.__file__

SHAPES = [4, 5, 2, 3]
HEADS, CHANNELS, LEVELS, POINTS = SIZES = (2, 16, 2, 2)
CELLS = 26
CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-14}

KERNELS = ctypes.CDLL(str(LIBRARY))
KERNELS.dsct_last_error.restype = ctypes.c_char_p
Tensors = list[Tensor]


def driver() -> Any:
    """The stand-in, which the launcher has opened or will open."""
    library = ctypes.CDLL("libcuda.so.1")
    library.fake_last_stream.restype = ctypes.c_void_p
    return library


# ---------------------------------------------------------------- calls through the operators


def make_inputs(dtype: torch.dtype, reference_size: int, queries: int = CELLS, batch: int = 2) -> Tensors:
    """value, [reference], points, weights, grad_out; some points outside."""
    torch.manual_seed(0)
    value = torch.randn(batch, CELLS, HEADS, CHANNELS, dtype=torch.float64)
    points = torch.rand(batch, queries, HEADS, LEVELS, POINTS, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(batch, queries, HEADS, LEVELS, POINTS, dtype=torch.float64)
    reference = torch.rand(batch, queries, LEVELS, reference_size, dtype=torch.float64) * 0.8
    arithmetic = torch.float64 if dtype == torch.float64 else torch.float32
    grad_out = torch.randn(batch, queries, HEADS * CHANNELS, dtype=torch.float64).to(dtype)
    if reference_size == 0:
        return [value.to(dtype), points.to(arithmetic), weights.to(arithmetic), grad_out]
    return [value.to(dtype), reference.to(arithmetic), (3 * points).to(dtype), weights.to(dtype), grad_out]


def operator(name: str, on_cuda: bool) -> Any:
    """The operator, or the kernel that is registered for CUDA on its own."""
    overload = getattr(torch.ops.dsct, name).default
    return (lambda *arguments: overload.redispatch(CUDA, *arguments)) if on_cuda else overload


def run_all(inputs: Tensors, on_cuda: bool, mask: list[bool] | None = None) -> Tensors:
    """Output and gradients."""
    *inputs, grad_out = inputs
    name = "ms_deform_attn" if len(inputs) == 3 else "ms_deform_attn_fused"
    value, *rest = inputs
    mask = [True] * len(inputs) if mask is None else mask
    out = operator(name, on_cuda)(value, SHAPES, *rest)
    return [out, *operator(f"{name}_backward", on_cuda)(grad_out, value, SHAPES, *rest, mask)]


def check_equal(inputs: Tensors, mask: list[bool] | None = None) -> Tensors:
    found, expected = run_all(inputs, True, mask), run_all(inputs, False, mask)
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a is None) == (b is None), i
        if a is not None:
            assert a.dtype == b.dtype, (i, a.dtype, b.dtype)
            largest = b.abs().max().item() if b.numel() else 0.0
            torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[inputs[0].dtype] * max(1.0, largest))
    assert driver().fake_context_depth() == 0
    return found


def results(dtype: str, reference_size: str) -> None:
    """Every gradient, any gradient alone, and the deterministic sum."""
    inputs = make_inputs(getattr(torch, dtype), int(reference_size))
    check_equal(inputs)
    for i in range(len(inputs) - 1):
        check_equal(inputs, [i == j for j in range(len(inputs) - 1)])
    torch.use_deterministic_algorithms(True)
    first, second = check_equal(inputs), check_equal(inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert driver().fake_launches() > 0


def mixed_dtypes() -> None:
    """As under autocast: value in the low type, all else in float32."""
    for reference_size in (2, 4):
        value, *rest, grad_out = make_inputs(torch.float32, reference_size)
        check_equal([value.half(), *rest, grad_out.half()])


def misaligned() -> None:
    """Contiguous views that start in the middle of their storage, and views that are not contiguous."""
    for reference_size in (0, 4):
        inputs = make_inputs(torch.float32, reference_size)
        shifted = [torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape) for t in inputs]
        assert all(t.is_contiguous() and t.data_ptr() % 16 for t in shifted)
        check_equal(shifted)
        check_equal([t.transpose(0, 1).contiguous().transpose(0, 1) for t in inputs])


def composite() -> None:
    """No kernel: torch's operators give the same, below autograd too, and nothing is launched."""
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for reference_size in (0, 2, 4):
            inputs = make_inputs(dtype, reference_size)
            check_equal(inputs)
            with torch._C._AutoDispatchBelowAutograd():
                check_equal(inputs)
            check_equal(inputs, [True] + [False] * (len(inputs) - 2))
    assert driver().fake_launches() == 0


def unsupported() -> None:
    """Sizes without a kernel: an odd number of channels, no images, no queries."""
    for reference_size in (0, 2):
        inputs = make_inputs(torch.float32, reference_size)
        odd = inputs[-1].unflatten(2, (HEADS, CHANNELS))[..., :7].flatten(2)
        check_equal([inputs[0][..., :7], *inputs[1:-1], odd])
        check_equal(make_inputs(torch.float32, reference_size, batch=0))
        check_equal(make_inputs(torch.float32, reference_size, queries=0))
    assert driver().fake_launches() == 0


def fails() -> None:
    """Prints why a call fails; the context is left in any case."""
    inputs = make_inputs(torch.float32, 0)
    try:
        run_all(inputs, True)
    except RuntimeError as error:
        print(str(error))
    else:
        raise AssertionError("the call went through")
    if "DSCT_FAKE_FAIL" in os.environ:
        assert driver().fake_context_depth() == 0
        assert driver().fake_capture_mode() == 0


# ---------------------------------------------------------------- calls of the C interface


class Shape(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int64) for name in "bsmdqlp"), ("spatial_shapes", ctypes.c_void_p)]


class Inputs(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("dtype", "points_dtype", "reference_size")),
        *((name, ctypes.c_void_p) for name in ("value", "reference", "points", "weights")),
    ]


def forward_on(device: int, stream: int = 0) -> int:
    """The status of a forward pass on a device and a stream; right results are checked."""
    value, points, weights, _ = make_inputs(torch.float32, 0, queries=3, batch=1)
    shapes = (ctypes.c_int64 * 4)(*SHAPES)
    shape = Shape(1, CELLS, HEADS, CHANNELS, 3, LEVELS, POINTS, ctypes.addressof(shapes))
    inputs = Inputs(0, 0, 0, value.data_ptr(), None, points.data_ptr(), weights.data_ptr())
    out = torch.full((1, 3, HEADS * CHANNELS), float("nan"))
    status: int = KERNELS.dsct_deform_attn_cuda_forward(
        ctypes.byref(shape), ctypes.byref(inputs), ctypes.c_void_p(out.data_ptr()), device, ctypes.c_void_p(stream)
    )
    if status == 0:
        torch.testing.assert_close(out, torch.ops.dsct.ms_deform_attn(value, SHAPES, points, weights))
    return status


def reason() -> str:
    text: bytes = KERNELS.dsct_last_error()
    return text.decode()


def devices() -> None:
    """A module per device; launches in the context of the right one; the caller's stream."""
    for _ in range(2):
        assert forward_on(0, stream=0x10) == 0, reason()
        assert driver().fake_last_stream() == 0x10
        assert forward_on(1, stream=0x20) == 0, reason()
        assert driver().fake_last_stream() == 0x20
    assert (driver().fake_retained(), driver().fake_loads(), driver().fake_launches()) == (2, 2, 4)
    assert forward_on(2) == 1
    print(reason())
    fresh = threading.Thread(target=lambda: print("thread", forward_on(1)))
    fresh.start()
    fresh.join()
    assert driver().fake_context_depth() == 0


def newer_gpu() -> None:
    """Whether the driver was given the intermediate language."""
    assert forward_on(0) == 0, reason()
    print(driver().fake_last_image_was_text())


def fork() -> None:
    """A child of a process that used CUDA is refused, a child of one that did not is served."""
    for used in (False, True):
        if used:
            assert forward_on(0) == 0, reason()
        child = os.fork()
        if child == 0:
            print(forward_on(0), reason() if used else "")
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


# ---------------------------------------------------------------- compiling ahead


def warm(*dtypes: str) -> None:
    """Prints how many modules were compiled, read from disk and loaded before, twice."""
    for _ in range(2):
        for dtype in dtypes:
            print(*_dsct.cuda_warmup(0, _dsct.dtype_codes()[dtype], SIZES))


def warm_in_threads() -> None:
    """Prints the sums over four threads that want the same at once."""
    counts: list[tuple[int, int, int]] = []
    threads = [threading.Thread(target=lambda: counts.append(_dsct.cuda_warmup(0, 0, SIZES))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(sum(numbers) for numbers in zip(*counts, strict=True)))


def status() -> None:
    """Prints what was found."""
    for name, (there, text) in _dsct.cuda_status().items():
        print(name, there, text)


# ---------------------------------------------------------------- processes


def run_in_child(name: str, arguments: list[str], environment: dict[str, str], output: int) -> None:
    """Never returns. The driver has not been opened yet, so that the child is like a process of its own."""
    status = 1
    try:
        os.dup2(output, 1)
        os.environ.update(environment)
        globals()[name](*arguments)
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(status)


def serve() -> None:
    """For each line [name, arguments, environment] of JSON on stdin: a line [status, output] on stdout."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                name, arguments, environment = json.loads(line)
                run_in_child(name, arguments, environment, output.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            print(json.dumps([status, output.read().decode()]), flush=True)


if __name__ == "__main__":
    serve()
