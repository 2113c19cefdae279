"""``torch.ops.dsct`` in Python: schemas, and one registration per dispatch key, as in ``deform_attn_ops.cpp``.

Backward and double backward are registered too: without an Autograd kernel on the backward operator a second
derivative would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dsct.any_torch import dropout
from dsct.any_torch.arguments import Arguments, Four, Mask, check_arguments, check_grad_output
from dsct.any_torch.autograd import backward_autograd, forward_autograd
from dsct.any_torch.composite import composite_backward, composite_forward
from dsct.any_torch.dispatcher import call_forward
from dsct.any_torch.kernels import backward_cpu, backward_cuda, forward_cpu, forward_cuda
from dsct.any_torch.library import kernels
from dsct.any_torch.vmap import backward_vmapped, forward_vmapped

Forward = Callable[[Arguments], Tensor]
Backward = Callable[[Tensor, Arguments, Mask], Four]

SCHEMAS = (
    "ms_deform_attn(Tensor value, SymInt[] spatial_shapes, Tensor sampling_locations, Tensor attention_weights) "
    "-> Tensor",
    "ms_deform_attn_backward(Tensor grad_output, Tensor value, SymInt[] spatial_shapes, Tensor sampling_locations, "
    "Tensor attention_weights, bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
    "ms_deform_attn_fused(Tensor value, SymInt[] spatial_shapes, Tensor reference_points, Tensor sampling_offsets, "
    "Tensor logits) -> Tensor",
    "ms_deform_attn_fused_backward(Tensor grad_output, Tensor value, SymInt[] spatial_shapes, "
    "Tensor reference_points, Tensor sampling_offsets, Tensor logits, bool[4] output_mask) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    "dropout(Tensor input, float p, Tensor seed, bool relu) -> Tensor",
)

_LIBRARIES: list[Any] = []
"""What is registered ends with the object that registered it."""


def register() -> None:
    """Registers the operators, once.

    Raises:
        ImportError: there is no library of kernels for this system.

    Example:
        ``if is_built(): register()``, where the extension, which registers the same, does not load.
    """
    if _LIBRARIES:
        return
    kernels()
    library: Any = torch.library.Library("dsct", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _implement(library, "CPU", forward_cpu, backward_cpu)
    _implement(library, "CUDA", forward_cuda, backward_cuda)
    _implement(library, "Meta", _forward_meta, _backward_meta)
    _implement(library, "CompositeExplicitAutograd", _forward_composite, _backward_composite)
    _implement(library, "Autograd", forward_autograd, backward_autograd)
    _implement(library, "FuncTorchBatched", forward_vmapped, backward_vmapped)
    for device in ("cpu", "cuda"):
        _implement_forward(library, f"Autocast{device.upper()}", _forward_autocast(device))
    for key, function in dropout.KERNELS.items():
        library.impl("dropout", function, key)
    _LIBRARIES.append(library)


def _implement_forward(library: Any, key: str, body: Forward) -> None:
    """One body under both operators' names."""

    def plain(value: Tensor, shapes: list[int], locations: Tensor, weights: Tensor) -> Tensor:
        return body(Arguments(value, shapes, None, locations, weights))

    def fused(value: Tensor, shapes: list[int], reference: Tensor, offsets: Tensor, logits: Tensor) -> Tensor:
        return body(Arguments(value, shapes, reference, offsets, logits))

    library.impl("ms_deform_attn", plain, key)
    library.impl("ms_deform_attn_fused", fused, key)


def _implement(library: Any, key: str, forward: Forward, backward: Backward) -> None:
    def plain(
        grad: Tensor, value: Tensor, shapes: list[int], locations: Tensor, weights: Tensor, mask: list[bool]
    ) -> tuple[Any, ...]:
        needed = (mask[0], False, mask[1], mask[2])
        found = backward(grad, Arguments(value, shapes, None, locations, weights), needed)
        return found[0], found[2], found[3]

    def fused(
        grad: Tensor, value: Tensor, shapes: list[int], reference: Tensor, offsets: Tensor, logits: Tensor,
        mask: list[bool],
    ) -> tuple[Any, ...]:  # fmt: skip
        needed = (mask[0], mask[1], mask[2], mask[3])
        return backward(grad, Arguments(value, shapes, reference, offsets, logits), needed)

    _implement_forward(library, key, forward)
    library.impl("ms_deform_attn_backward", plain, key)
    library.impl("ms_deform_attn_fused_backward", fused, key)


def _forward_meta(a: Arguments) -> Tensor:
    """Shapes for FakeTensor, export, compile."""
    check_arguments(a)
    return a.value.new_empty(a.value.shape[0], a.points.shape[1], a.value.shape[2] * a.value.shape[3])


def _backward_meta(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    check_arguments(a)
    check_grad_output(grad_output, a)
    value, reference, points, weights = (
        tensor.new_empty(tensor.shape) if tensor is not None and wanted else None
        for tensor, wanted in zip(a.tensors, mask, strict=True)
    )
    return value, reference, points, weights


def _forward_composite(a: Arguments) -> Tensor:
    """Devices without a kernel of their own."""
    check_arguments(a)
    return composite_forward(a)


def _backward_composite(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    check_arguments(a)
    check_grad_output(grad_output, a)
    return composite_backward(grad_output, a, mask)


def _forward_autocast(device: str) -> Forward:
    """The value goes to the low type, coordinates stay in float32.

    At a map width of 134 one bfloat16 step of a coordinate is half a cell. Offsets and logits come from linear layers
    in the low type already, which is precise enough for a distance of a few cells: they stay as they are.
    """
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device.upper()}"))

    def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
        on_device = tensor.is_floating_point() and tensor.device.type == device and tensor.dtype != torch.float64
        return tensor.to(dtype) if on_device else tensor

    def forward(a: Arguments) -> Tensor:
        low = torch.get_autocast_dtype(device)
        value, _, reference, points, weights = a
        fused = reference is not None
        with torch._C._ExcludeDispatchKeyGuard(key):
            points, weights = (
                tensor if fused and tensor.dtype == low else cast(tensor, torch.float32) for tensor in (points, weights)
            )
            if reference is not None:
                reference = cast(reference, torch.float32)
            return call_forward(Arguments(cast(value, low), a.shapes, reference, points, weights))

    return forward
