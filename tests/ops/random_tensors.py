"""Random tensors and how a call may end: what the tests of random input share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

FUZZ = float(os.environ.get("DSCT_FUZZ", "1"))
"""How many times as many cases as usual: ``DSCT_FUZZ=50 pytest tests -k random_input``.

An access out of bounds may end the process; pytest's faulthandler then says in which test.
"""

CLEAR = (ValueError, TypeError, NotImplementedError)
sizes = st.sampled_from([0, 1, 1, 2, 2, 3, 5])
#: Sizes of levels, the last ones made to overflow a product, or a pointer.
heights = st.sampled_from([0, 1, 2, 3, 7, -1, -(2**63), 2**31, 2**32, 2**62, 2**63 - 1])
dtypes = st.sampled_from(
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)
specials = st.sampled_from([0.0, 0.5, 1.0, float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 2.0**63])


def cases(count: int) -> settings:
    """The settings of a test of random input that usually sees `count` cases, the same ones in every run."""
    examples = max(1, int(count * FUZZ))
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() >= 2 else tensor


def every_other(tensor: Tensor) -> Tensor:
    return torch.stack([tensor, tensor], -1)[..., 0]


def repeated_rows(tensor: Tensor) -> Tensor:
    """Stride 0 in the first dimension."""
    return tensor[:1].expand(tensor.shape) if tensor.dim() and len(tensor) else tensor


def overlapping(tensor: Tensor) -> Tensor:
    """Every stride is 1: rows share their numbers."""
    length = 1 + sum(size - 1 for size in tensor.shape)
    flat = tensor.reshape(-1)[:length]
    return flat.as_strided(tensor.shape, [1] * tensor.dim()) if tensor.numel() else tensor


def behind_other_numbers(tensor: Tensor) -> Tensor:
    """Begins at an odd place of its memory."""
    flat = torch.cat([tensor.new_zeros(3), tensor.reshape(-1), tensor.new_zeros(3)])
    return flat[3 : 3 + tensor.numel()].view(tensor.shape)


def negated(tensor: Tensor) -> Tensor:
    """The memory holds the opposite numbers: a view as ``z.conj().imag`` is one."""
    if tensor.dtype not in (torch.float32, torch.float64):
        return tensor
    view = torch.complex(tensor, -tensor).conj().imag
    assert view.is_neg()
    return view


LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    torch.clone, torch.clone, torch.clone, torch.clone, transposed, every_other, repeated_rows, overlapping,
    behind_other_numbers, negated,
]  # fmt: skip


@st.composite
def tensors(draw: Any, shape: list[int], devices: tuple[str, ...] = ("cpu",)) -> Tensor:
    """Of nearly this shape, of any dtype, stride and device, with special values in it."""
    shape = list(shape)
    change = draw(st.integers(0, 25))
    if change == 0 and shape:
        shape[draw(st.integers(0, len(shape) - 1))] += draw(st.sampled_from([-1, 1, 2]))
    elif change == 1:
        shape = shape[1:]
    elif change == 2:
        shape = [*shape, 1]
    shape = [max(0, size) for size in shape]
    dtype = draw(dtypes) if draw(st.integers(0, 4)) == 0 else torch.float32
    made = torch.rand(shape).to(dtype)
    if made.numel() and dtype.is_floating_point and draw(st.booleans()):
        made.view(-1)[draw(st.integers(0, made.numel() - 1))] = draw(specials)
    return draw(st.sampled_from(LAYOUTS))(made).to(draw(st.sampled_from(devices)))


def answered(call: Callable[[], Any], names: str) -> Any:
    """What it returns, or None after a clear error, whose text begins with one of the names."""
    error: Exception
    try:
        return call()
    except CLEAR as caught:
        error = caught
    assert re.match(names, str(error)), repr(error)
    return None
