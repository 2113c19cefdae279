"""Calls of the operators through torch's dispatcher."""

from __future__ import annotations

import torch
from torch import Tensor

from dsct.any_torch.arguments import Arguments, Four, Mask


def call_forward(a: Arguments) -> Tensor:
    """The operator that `a` is a call of: (B, Q, M · D)."""
    ops = torch.ops.dsct
    out: Tensor = (
        ops.ms_deform_attn.default(a.value, a.shapes, a.points, a.weights)
        if a.reference is None
        else ops.ms_deform_attn_fused.default(a.value, a.shapes, a.reference, a.points, a.weights)
    )
    return out


def call_backward(grad_output: Tensor, a: Arguments, mask: Mask) -> Four:
    """Its backward operator: the gradients that `mask` names."""
    ops = torch.ops.dsct
    if a.reference is None:
        needed = [mask[0], mask[2], mask[3]]
        value, points, weights = ops.ms_deform_attn_backward.default(
            grad_output, a.value, a.shapes, a.points, a.weights, needed
        )
        return value, None, points, weights
    value, reference, points, weights = ops.ms_deform_attn_fused_backward.default(
        grad_output, a.value, a.shapes, a.reference, a.points, a.weights, list(mask)
    )
    return value, reference, points, weights
