"""The operators' derivatives: of first order by the backward operators, of all others by the composite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import Function, forward_ad
from torch.autograd.function import _SingleLevelFunction

from dsct.any_torch.arguments import Arguments, Four, Mask, check_arguments
from dsct.any_torch.composite import composite_double_backward, composite_forward
from dsct.any_torch.dispatcher import call_backward, call_forward


def forward_autograd(a: Arguments) -> Tensor:
    """In ``torch.func`` one derivative comes from the kernels, as outside.

    Those of derivatives and forward mode come from the composite, which torch differentiates as often as there are
    transforms.
    """
    if derivatives() > 1 or has_tangent(*a.tensors):
        check_arguments(a)
        return composite_forward(a)
    if not requires_grad(*a.tensors):
        with torch._C._AutoDispatchBelowAutograd():
            return call_forward(a)
    return record(DeformAttn, a.shapes, *a.tensors)  # type: ignore[no-any-return]


def backward_autograd(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    """As :func:`forward_autograd`.

    Raises:
        NotImplementedError: in forward mode.
    """
    if not any(mask):
        return None, None, None, None
    inputs = (grad_output, *a.tensors)
    if has_tangent(*inputs):
        raise NotImplementedError(
            f"{a.name}_backward: has no forward-mode derivative, differentiate {a.name} twice instead"
        )
    if not requires_grad(*inputs):
        with torch._C._AutoDispatchBelowAutograd():
            return call_backward(grad_output, a, mask)
    return record(DeformAttnBackward, mask, a.shapes, *inputs)  # type: ignore[no-any-return]


class Node(_SingleLevelFunction):
    """A ``torch.autograd.Function`` inside the dispatcher, which has chosen the transform whose turn it is.

    A ``Function`` of the ordinary kind would choose again.
    """

    _compiled_autograd_key = staticmethod(Function._compiled_autograd_key)


def record(node: type[Node], *arguments: Any) -> Any:
    """``node.apply``, also inside ``torch.func``."""
    with enable_single_level_autograd_function():
        return node.apply(*arguments)  # type: ignore[attr-defined]


@contextmanager
def below_autograd() -> Iterator[None]:
    """Inside the forward of a ``Function``, where torch records nothing.

    Outer transforms, and a graph outside all of them, have their turn below the dispatch key of this one: they record.
    """
    with torch._C._AutoDispatchBelowAutograd(), torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        yield


def requires_grad(*tensors: Tensor | None) -> bool:
    """Whether torch records what is computed from `tensors`."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def has_tangent(*tensors: Tensor | None) -> bool:
    """Whether a forward-mode derivative comes along with a tensor, inside a transform or not."""
    if forward_ad._current_level < 0:
        return False
    unpack: Any = forward_ad.unpack_dual
    return any(tensor is not None and unpack(tensor).tangent is not None for tensor in tensors)


def derivatives() -> int:
    """How many transforms of ``torch.func`` at work differentiate."""
    kinds = (TransformType.Grad, TransformType.Jvp)
    return sum(layer.key() in kinds for layer in get_interpreter_stack() or ())


class DeformAttn(Node):
    """Either operator in torch's graph of gradients."""

    @staticmethod
    def forward(shapes: list[int], *tensors: Tensor | None) -> Tensor:
        with below_autograd():
            return call_forward(_arguments(shapes, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.shapes, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Any, ...]:
        if grad_output is None:
            return (None,) * 5
        mask = ctx.needs_input_grad[1:]
        return None, *call_backward(grad_output, _arguments(ctx.shapes, ctx.saved_tensors), mask)


class DeformAttnBackward(Node):
    """Either backward operator there."""

    @staticmethod
    def forward(mask: Mask, shapes: list[int], grad_output: Tensor, *tensors: Tensor | None) -> Four:
        with below_autograd():
            return call_backward(grad_output, _arguments(shapes, tensors), mask)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Four) -> None:
        _, ctx.shapes, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        grad_output, *tensors = ctx.saved_tensors
        of_grad_output, second = composite_double_backward(grads, grad_output, _arguments(ctx.shapes, tensors))
        return None, None, of_grad_output, *second


def _arguments(shapes: list[int], tensors: Any) -> Arguments:
    value, reference, points, weights = tensors
    return Arguments(value, shapes, reference, points, weights)
