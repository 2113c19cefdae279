"""The kernels on tensors: these made ready, results allocated, and the library called with their addresses."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from ctypes import byref, c_int64
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dsct.any_torch.arguments import DTYPES, Arguments, Four, Mask, arithmetic_dtype, check_arguments, check_grad_output
from dsct.any_torch.composite import composite_backward, composite_forward, level_sizes
from dsct.any_torch.library import Gradients, Inputs, Shape, check, kernels

_ADVICE = "\n(DSCT_CUDA_KERNELS=off runs torch's operators instead.)"


class Call(NamedTuple):
    """Contiguous inputs of one call, and the structures that describe them to the kernels."""

    tensors: Arguments
    shape: Shape
    inputs: Inputs

    def new_output(self) -> Tensor:
        b, m, d, q = (getattr(self.shape, name) for name in "bmdq")
        return self.tensors.value.new_empty(b, q, m * d)

    def new_gradients(self, value_dtype: torch.dtype, mask: Mask) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of value, points and weights, None where nobody needs them."""
        value, _, _, points, weights = self.tensors
        arithmetic = self.tensors.arithmetic
        return (
            torch.empty_like(value, dtype=value_dtype) if mask[0] else None,
            torch.empty_like(points, dtype=arithmetic) if mask[1] or mask[2] else None,
            torch.empty_like(weights, dtype=arithmetic) if mask[3] else None,
        )


Ready = Callable[[Tensor, torch.dtype], Tensor]


def contiguous(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """What the CPU kernels ask of their inputs."""
    return tensor.to(dtype).contiguous()


def aligned(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """What the CUDA kernels ask: a view may start in the middle of its storage, where a 16-byte load would fault."""
    ready = tensor.to(dtype).contiguous()
    return ready if ready.data_ptr() % 16 == 0 else ready.clone()


def prepared(a: Arguments, ready: Ready) -> Call:
    """The call of a kernel; `ready` makes a tensor of a dtype what the kernel asks for."""
    dtype, reference = a.value.dtype, a.reference
    # The fused kernels read offsets and logits in the dtype of value too, which spares a pass over them.
    low = reference is not None and a.points.dtype == a.weights.dtype == dtype
    points_dtype = dtype if low else a.arithmetic
    value, points, weights = ready(a.value, dtype), ready(a.points, points_dtype), ready(a.weights, points_dtype)
    if reference is not None:
        reference = ready(reference, a.arithmetic)
    sizes = (c_int64 * len(a.shapes))(*a.shapes)
    (b, s, m, d), (_, q, _, l, p, _) = value.shape, points.shape  # noqa: E741
    shape = Shape(b, s, m, d, q, l, p, sizes)
    inputs = Inputs(
        DTYPES[dtype],
        DTYPES[points_dtype],
        0 if reference is None else reference.shape[3],
        value.data_ptr(),
        None if reference is None else reference.data_ptr(),
        points.data_ptr(),
        weights.data_ptr(),
    )
    return Call(Arguments(value, a.shapes, reference, points, weights), shape, inputs)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def forward_cpu(a: Arguments) -> Tensor:
    """(B, Q, M · D) in the dtype of value."""
    check_arguments(a)
    call = prepared(a, contiguous)
    out = call.new_output()
    status = kernels().dsct_deform_attn_cpu_forward(
        byref(call.shape), byref(call.inputs), out.data_ptr(), torch.get_num_threads()
    )
    check(a.name, status)
    return out


def backward_cpu(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    """Gradients of the inputs in their dtypes, None where `mask` does not name them."""
    check_arguments(a)
    check_grad_output(grad_output, a)
    call = prepared(a, contiguous)
    found = call.new_gradients(a.value.dtype, mask)
    grad = contiguous(grad_output, a.value.dtype)
    status = kernels().dsct_deform_attn_cpu_backward(
        byref(call.shape), byref(call.inputs), grad.data_ptr(), byref(Gradients(*map(_address, found))),
        torch.get_num_threads(),
    )  # fmt: skip
    check(f"{a.name}_backward", status)
    return _input_gradients(found, a, mask)


# The tests hand tensors of the CPU to the functions for CUDA, over a stand-in for the driver that runs the kernels on
# the host: those have no stream.


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Results and temporaries are allocated, and kernels launched, on the device of the inputs."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _stream(device: torch.device) -> tuple[int, int | None]:
    """The number of the device, and its current stream."""
    if device.type != "cuda":
        return 0, None
    stream = torch.cuda.current_stream(device)
    return stream.device_index, stream.cuda_stream


def _has_cuda_kernel(call: Call) -> bool:
    off = os.environ.get("DSCT_CUDA_KERNELS") == "off" or torch.version.hip is not None
    return not off and bool(kernels().dsct_deform_attn_cuda_supports(byref(call.shape), byref(call.inputs)))


def forward_cuda(a: Arguments) -> Tensor:
    """As :func:`forward_cpu`; the composite for what there is no kernel for."""
    check_arguments(a)
    with _on(a.value.device):
        call = prepared(a, aligned)
        if not _has_cuda_kernel(call):
            return composite_forward(a)
        out = call.new_output()
        status = kernels().dsct_deform_attn_cuda_forward(
            byref(call.shape), byref(call.inputs), out.data_ptr(), *_stream(out.device)
        )
        check(a.name, status, _ADVICE)
        return out


def backward_cuda(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    """As :func:`backward_cpu`; the composite for what there is no kernel for."""
    check_arguments(a)
    check_grad_output(grad_output, a)
    with _on(a.value.device):
        call = prepared(a, aligned)
        if not _has_cuda_kernel(call):
            return composite_backward(grad_output, a, mask)
        found = call.new_gradients(a.arithmetic, mask)
        grad = aligned(grad_output, a.value.dtype)
        fixed_point = bound = None
        if found[0] is not None and torch.are_deterministic_algorithms_enabled():
            fixed_point = torch.zeros_like(call.tensors.value, dtype=torch.int64)
            bound = _largest_product(call, grad)
        elif found[0] is not None:
            found[0].zero_()  # the kernels add to it
        status = kernels().dsct_deform_attn_cuda_backward(
            byref(call.shape), byref(call.inputs), grad.data_ptr(), byref(Gradients(*map(_address, found))),
            _address(fixed_point), _address(bound), *_stream(grad.device),
        )  # fmt: skip
        check(f"{a.name}_backward", status, _ADVICE)
        return _input_gradients(found, a, mask)


def _largest_product(call: Call, grad: Tensor) -> Tensor:
    """The largest product of attention weight and grad_output, one float64 on the device: it fixes the unit."""
    value, _, reference, _, weights = call.tensors
    dtype = arithmetic_dtype(value)
    weights = weights.to(dtype).flatten(3)
    if reference is not None:
        weights = weights.softmax(-1)
    per_head = grad.to(dtype).view(*grad.shape[:2], *value.shape[2:])
    largest: Tensor = (weights.abs().amax(-1) * per_head.abs().amax(-1)).amax()
    return largest.double()


def _input_gradients(found: tuple[Tensor | None, Tensor | None, Tensor | None], a: Arguments, mask: Mask) -> Four:
    """The gradients of the inputs.

    Beside a reference, the kernels' gradient of points is with respect to cell coordinates, where
    x = reference · W + offset - ½, or x = (centre + offset / P · size / 2) · W - ½.
    """
    of_value, of_points, of_weights = found
    of_reference = None
    reference = a.reference
    if of_points is not None and reference is not None and (reference.shape[3] == 4 or mask[1]):
        at_locations = of_points * level_sizes(a.shapes, of_points)
        half_step = 0.5 / a.points.shape[4] if a.points.shape[4] else 0.0
        boxes = reference.shape[3] == 4
        if mask[1]:
            of_reference = at_locations.sum((2, 4))
        if of_reference is not None and boxes:
            # A point that lies nowhere has no gradient, also where its offset is infinite or NaN: 0 · inf is not 0.
            products = (at_locations * a.points).masked_fill(at_locations == 0, 0)
            of_reference = torch.cat((of_reference, products.sum((2, 4)) * half_step), -1)
        if boxes and mask[2]:
            of_points = at_locations * (reference.narrow(3, 2, 2) * half_step).unsqueeze(2).unsqueeze(4)
    return (
        _like(of_value, a.value),
        None if of_reference is None or reference is None else _like(of_reference, reference),
        _like(of_points, a.points) if mask[2] else None,
        _like(of_weights, a.weights),
    )


def _like(gradient: Tensor | None, of: Tensor) -> Tensor | None:
    return None if gradient is None else gradient.to(of.dtype)
