"""The operators in torch's own, differentiable: second derivatives, and calls for which there is no kernel.

The Python form of ``deform_attn_composite.h``, statement by statement. Slow, and hungry for memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dsct.any_torch.arguments import Arguments, Four, Mask


def composite(a: Arguments) -> Tensor:
    """Either operator in the dtypes that it is given: (B, Q, M · D)."""
    if a.reference is None:
        return _samples(a.value, a.shapes, a.points, a.weights)
    weights = a.weights.flatten(3).softmax(-1).reshape(a.weights.shape)
    return _samples(a.value, a.shapes, _locations(a.shapes, a.reference, a.points), weights)


def composite_forward(a: Arguments) -> Tensor:
    """The same in the arithmetic type."""
    return composite(_in_arithmetic(a, a.tensors)).to(a.value.dtype)


def composite_backward(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    """Gradients of those inputs that ``mask`` names, by way of the arithmetic type; None for the others."""
    with _above_autograd(), torch.enable_grad():
        leaves = [
            None if tensor is None else tensor.detach().to(a.arithmetic).detach().requires_grad_(wanted)
            for tensor, wanted in zip(a.tensors, mask, strict=True)
        ]
        wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
        if not wanted:
            return None, None, None, None
        found = iter(torch.autograd.grad(composite(a.with_tensors(leaves)), wanted, grad_output.to(a.arithmetic)))
        value, reference, points, weights = (
            next(found).to(tensor.dtype) if tensor is not None and needed else None
            for tensor, needed in zip(a.tensors, mask, strict=True)
        )
        return value, reference, points, weights


def composite_double_backward(
    grads: Sequence[Tensor | None], grad_output: Tensor, a: Arguments
) -> tuple[Tensor | None, Four]:
    """Gradients of the backward operator with respect to grad_output and the inputs: the composite, twice.

    Args:
        grads: what comes in for each of the backward operator's results; None where nothing does.
        grad_output: (B, Q, M · D).
        a: the inputs.
    """
    with torch.enable_grad():
        # Other tensors than the given ones: where grad_output depends on an input, its share is not the input's own.
        inputs = [None if tensor is None else _leaf(tensor) for tensor in a.tensors]
        seed = _leaf(grad_output)
        given = [index for index, tensor in enumerate(inputs) if tensor is not None]
        leaves: list[Tensor] = [tensor for tensor in inputs if tensor is not None]
        out = composite(_in_arithmetic(a, inputs))
        first = torch.autograd.grad(out, leaves, seed.to(a.arithmetic), create_graph=True, allow_unused=True)
        pairs = [
            (result, grad.to(result.dtype))
            for result, grad in zip(first, (grads[index] for index in given), strict=True)
            if result is not None and grad is not None and result.requires_grad
        ]
        if not pairs:
            return None, (None, None, None, None)
        outputs, seeds = zip(*pairs, strict=True)
        *found, last = torch.autograd.grad(outputs, [*leaves, seed], seeds, create_graph=True, allow_unused=True)
        second: list[Tensor | None] = [None] * 4
        for index, gradient in zip(given, found, strict=True):
            second[index] = gradient
        return last, (second[0], second[1], second[2], second[3])


def level_sizes(shapes: Sequence[int], like: Tensor) -> Tensor:
    """(L, 1, 2) as (width, height) in the dtype and on the device of ``like``. Filled there: no copy from the host."""
    if not shapes:
        return like.new_empty(0, 1, 2)
    sizes = [like.new_ones(1) * n for h, w in zip(shapes[::2], shapes[1::2], strict=True) for n in (w, h)]
    return torch.cat(sizes).view(-1, 1, 2)


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


def _in_arithmetic(a: Arguments, tensors: Sequence[Tensor | None]) -> Arguments:
    return a.with_tensors([None if tensor is None else tensor.to(a.arithmetic) for tensor in tensors])


def _above_autograd() -> torch._C._ForceDispatchKeyGuard:
    """Kernels are called below the autograd keys; torch's operators need these back to be differentiated."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in _AUTOGRAD:
        excluded = excluded.remove(key)
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)


_AUTOGRAD = [
    getattr(torch._C.DispatchKey, name)
    for name in ("AutogradFunctionality", "ADInplaceOrView", "AutogradOther", "AutogradNestedTensor")
    if hasattr(torch._C.DispatchKey, name)
]


def _samples(value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    (b, _, m, d), q = value.shape, locations.shape[1]
    out, start = value.new_zeros(b, m, q, d), 0
    for level in range(len(shapes) // 2):
        h, w = shapes[2 * level], shapes[2 * level + 1]
        cells = value.narrow(1, start, h * w).permute(0, 2, 1, 3)
        start = start + h * w
        at_level, attention = locations.select(3, level), weights.select(3, level)
        x, y = at_level.select(4, 0) * w - 0.5, at_level.select(4, 1) * h - 0.5
        # A point without a corner in the map, NaN included, becomes a fixed one outside: 0 · NaN is not 0.
        near = (x > -1) & (x < w) & (y > -1) & (y < h)
        outside = x.new_full((), -2)
        x, y = torch.where(near, x, outside), torch.where(near, y, outside)
        for dy in (0, 1):
            for dx in (0, 1):
                out = out + _corner(cells, (h, w), x, y, attention, dx, dy)
    return out.permute(0, 2, 1, 3).reshape(b, q, m * d)


def _corner(cells: Tensor, size: tuple[int, int], x: Tensor, y: Tensor, attention: Tensor, dx: int, dy: int) -> Tensor:
    """One corner of the bilinear sample of one level: Σ_p weight · value, zero outside the map.

    ``cells`` (B, M, H · W, D); ``x``, ``y`` and ``attention`` (B, Q, M, P) -> (B, M, Q, D).
    """
    (h, w), (b, m, _, d), (_, q, _, p) = size, cells.shape, x.shape
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    column, row = x0 + dx, y0 + dy
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * attention
    zero = weight.new_zeros(())

    def flat(tensor: Tensor) -> Tensor:
        return tensor.permute(0, 2, 1, 3).reshape(b, m, q * p, 1)

    index = flat(torch.where(inside, row * w + column, zero).long()).expand(b, m, q * p, d)
    sampled = cells.gather(2, index) * flat(torch.where(inside, weight, zero))
    return sampled.reshape(b, m, q, p, d).sum(3)


def _locations(shapes: Sequence[int], reference: Tensor, offsets: Tensor) -> Tensor:
    """Where the fused operator samples: (B, Q, M, L, P, 2)."""
    at_points = reference.unsqueeze(2).unsqueeze(4)  # (B, Q, 1, L, 1, 2 or 4)
    if reference.shape[3] == 2:
        return at_points + offsets / level_sizes(shapes, offsets)
    # As in `_samples`: no gradient of a size through an offset that is NaN or infinite.
    infinite = offsets.isfinite().all(-1, keepdim=True).logical_not()
    steps = offsets.masked_fill(infinite, 0) * at_points.narrow(-1, 2, 2) * (0.5 / int(offsets.shape[4]))
    return (at_points.narrow(-1, 0, 2) + steps).masked_fill(infinite, math.nan)
