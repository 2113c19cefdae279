"""Batching rules: the calls of a ``vmap`` are one call of a larger batch of images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C._functorch import _add_batch_dim, _unwrap_batched, peek_interpreter_stack

from dsct.any_torch.arguments import Arguments, Four, Mask, check_arguments, check_grad_output
from dsct.any_torch.dispatcher import call_backward, call_forward


def below() -> torch._C._ExcludeDispatchKeyGuard:
    """Where what is computed is no longer batched by the innermost ``vmap``, but by outer ones."""
    return torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.FuncTorchBatched))


class Vmapped:
    """The innermost ``vmap`` at work, and the tensors of a call in it."""

    def __init__(self, *tensors: Tensor | None) -> None:
        self.level = peek_interpreter_stack().level()
        self.plain = [None if tensor is None else _unwrap_batched(tensor, self.level) for tensor in tensors]
        #: Calls; None where only an outer vmap batches the tensors.
        self.size = next((one[0].shape[one[1]] for one in self.plain if one and one[1] is not None), None)

    def folded(self) -> list[Tensor | None]:
        """The tensors with the calls in their first dimension, that of the images."""
        return [None if one is None else self._fold(*one) for one in self.plain]

    def _fold(self, tensor: Tensor, dim: int | None) -> Tensor:
        if self.size is None:
            return tensor
        batch = tensor.movedim(dim, 0) if dim is not None else tensor.unsqueeze(0).expand(self.size, *tensor.shape)
        return batch.flatten(0, 1)

    def unfold(self, result: Tensor | None, images: int) -> Tensor | None:
        """A result of one call for each of the vmap."""
        if result is None or self.size is None:
            return result
        return _add_batch_dim(result.reshape(self.size, images, *result.shape[1:]), 0, self.level)


def forward_vmapped(a: Arguments) -> Tensor:
    """As the operator, one call for all."""
    check_arguments(a)
    batch = Vmapped(*a.tensors)
    with below():
        out = call_forward(a.with_tensors(batch.folded()))
    unfolded = batch.unfold(out, a.value.shape[0])
    assert unfolded is not None
    return unfolded


def backward_vmapped(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    """As the backward operator, one call for all."""
    check_arguments(a)
    check_grad_output(grad_output, a)
    batch = Vmapped(grad_output, *a.tensors)
    with below():
        grad, *tensors = batch.folded()
        assert grad is not None
        found = call_backward(grad, a.with_tensors(tensors), mask)
    value, reference, points, weights = (batch.unfold(each, a.value.shape[0]) for each in found)
    return value, reference, points, weights
