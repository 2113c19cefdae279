"""``torch.ops.dsct.dropout``: dropout, or relu and dropout in one pass, without a stored mask (``dropout_ops.cpp``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import _add_batch_dim, _unwrap_batched, get_interpreter_stack, peek_interpreter_stack

from dsct.any_torch.arguments import DTYPES, check_dtype, dtype_name
from dsct.any_torch.autograd import Node, below_autograd, has_tangent, record, requires_grad
from dsct.any_torch.library import check, kernels
from dsct.any_torch.vmap import below


def _check(tensor: Tensor, p: float, seed: Tensor) -> None:
    check_dtype("dropout", "input", tensor)
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p must be in [0, 1), got {p:g}")
    if seed.dtype != torch.int64:
        raise TypeError(f"dropout: seed must be int64, got {dtype_name(seed.dtype)}")
    if seed.device != tensor.device:
        raise ValueError(f"dropout: seed must be on {tensor.device} like input, got {seed.device}")
    if seed.numel() != 1:
        raise ValueError(f"dropout: seed must hold one number, got {list(seed.shape)}")


def _call(tensor: Tensor, p: float, seed: Tensor, relu: bool) -> Tensor:
    return torch.ops.dsct.dropout.default(tensor, p, seed, relu)  # type: ignore[no-any-return]


def _cpu(tensor: Tensor, p: float, seed: Tensor, relu: bool) -> Tensor:
    _check(tensor, p, seed)
    source = tensor.contiguous()
    to = torch.empty_like(source)
    status = kernels().dsct_dropout_cpu(
        DTYPES[source.dtype], source.numel(), p, int(seed), relu, source.data_ptr(), to.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    check("dropout", status)
    return to


def _meta(tensor: Tensor, p: float, seed: Tensor, relu: bool) -> Tensor:
    _check(tensor, p, seed)
    return tensor.new_empty(tensor.shape)


class Dropout(Node):
    """Dropout in torch's graph of gradients."""

    @staticmethod
    def forward(tensor: Tensor, p: float, seed: Tensor, relu: bool) -> Tensor:
        with below_autograd():
            return _call(tensor, p, seed, relu)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.p, seed, ctx.relu = inputs
        # After a relu the positive outputs are the mask; otherwise the seed finds it again.
        ctx.save_for_backward(output if ctx.relu else seed)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Any, ...]:
        if grad is None:
            return None, None, None, None
        (kept,) = ctx.saved_tensors
        # Dropout by a seed is linear: its transpose is itself.
        of_input = (
            torch.ops.aten.threshold_backward(grad, kept, 0) * (1 / (1 - ctx.p))
            if ctx.relu
            else _call(grad, ctx.p, kept, False)
        )
        return of_input, None, None, None


def _scaled(tensor: Tensor, scale: Tensor, relu: bool) -> Tensor:
    """The same numbers as a product, which torch differentiates in every mode."""
    return torch.where(scale != 0, (tensor.relu() if relu else tensor) * scale, 0)


def _autograd(tensor: Tensor, p: float, seed: Tensor, relu: bool) -> Tensor:
    if get_interpreter_stack() or has_tangent(tensor):
        with torch._C._AutoDispatchBelowAutograd():
            scale = _call(torch.ones_like(tensor), p, seed, False)
        return _scaled(tensor, scale, relu)
    if requires_grad(tensor):
        return record(Dropout, tensor, p, seed, relu)  # type: ignore[no-any-return]
    with torch._C._AutoDispatchBelowAutograd():
        return _call(tensor, p, seed, relu)


def _vmapped(tensor: Tensor, p: float, seed: Tensor, relu: bool) -> Tensor:
    """A mask for each seed: one for all calls of the vmap, or one for each."""
    level = peek_interpreter_stack().level()
    (inputs, dim), (seeds, seed_dim) = _unwrap_batched(tensor, level), _unwrap_batched(seed, level)
    with below():
        if dim is None and seed_dim is None:
            return _call(tensor, p, seed, relu)
        batch = inputs.unsqueeze(0) if dim is None else inputs.movedim(dim, 0)
        one = batch.new_ones(batch.shape[1:])
        of_each = seeds.unbind(seed_dim) if seed_dim is not None else [seeds]
        scales = [_call(one, p, each, False) for each in of_each]
        scale = (torch.stack(scales) if seed_dim is not None else scales[0]) if scales else one.unsqueeze(0)[:0]
        out = _scaled(batch, scale, relu)
    return _add_batch_dim(out, 0, level)


#: What is registered under each dispatch key.
KERNELS = {"CPU": _cpu, "Meta": _meta, "Autograd": _autograd, "FuncTorchBatched": _vmapped}
