"""Replaces the deformable attention in existing models by the package's operator.

Modules are recognised by the way they are called, never by where they come from, so that copies of the well-known
classes in other code bases are found too. Parameters stay where they are and keep their names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dsct.modules.ms_deform_attn import MSDeformAttn
from dsct.ops import ms_deform_attn, ms_deform_attn_fused

__all__ = ["accelerate_attention"]

#: First parameters of ``forward`` of the supported modules.
CORE_CALL = (
    "value", "value_spatial_shapes", "value_spatial_shapes_list", "level_start_index", "sampling_locations",
    "attention_weights",
)  # fmt: skip
ORIGINAL_CALL = (
    "query", "reference_points", "input_flatten", "input_spatial_shapes", "input_level_start_index",
    "input_padding_mask",
)  # fmt: skip
MMCV_CALL = (
    "query", "key", "value", "identity", "query_pos", "key_padding_mask", "reference_points", "spatial_shapes",
    "level_start_index",
)  # fmt: skip
PROJECTIONS = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


def accelerate_attention(model: nn.Module) -> dict[str, str]:
    """Replaces, in place, every supported deformable attention by the package's operator.

    Supported, and recognised by the parameters of ``forward``, are Hugging Face's ``MultiScaleDeformableAttention``
    (the sampling alone), Deformable DETR's ``MSDeformAttn``, and the ``MultiScaleDeformableAttention`` of mmcv and
    detrex.

    Args:
        model: it is changed; its parameters, their names and its hooks stay.

    Returns:
        Name in the model -> its kind, for every module that was replaced; empty if there was none.

    Raises:
        TypeError: `model` is not a module.

    Example:
        >>> from dsct.interop.attention import accelerate_attention
        >>> accelerate_attention(nn.Sequential(nn.Linear(1, 1)))
        {}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate_attention: model must be a torch.nn.Module, got {type(model).__name__}")
    replaced = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, (MSDeformAttn, _Replacement)):
            continue
        for kind, call, has_projections, make in _KINDS:
            if _is_called(module, call) and has_projections == all(hasattr(module, part) for part in PROJECTIONS):
                _replace(model, name, make(module), module)
                replaced[name] = kind
                break
    return replaced


class _Replacement(nn.Module):
    """A module that computes in place of another one, with its parameters."""


class CoreAttention(_Replacement):
    """The sampling alone, as Hugging Face calls it."""

    def __init__(self, _module: nn.Module) -> None:
        super().__init__()

    def forward(
        self,
        value: Tensor,
        value_spatial_shapes: Tensor,
        value_spatial_shapes_list: list[tuple[int, int]],
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int | None = None,
    ) -> Tensor:
        """(B, S, M, D), …, (B, Q, M, L, P, 2), (B, Q, M, L, P) -> (B, Q, M · D)."""
        shapes = value_spatial_shapes if value_spatial_shapes_list is None else value_spatial_shapes_list
        return ms_deform_attn(value, shapes, None, sampling_locations, attention_weights)


class MmcvAttention(_Replacement):
    """The whole module as mmcv and detrex call it, with residual and dropout."""

    sampling_offsets: nn.Module
    attention_weights: nn.Module
    value_proj: nn.Module
    output_proj: nn.Module
    dropout: nn.Module | None

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.dropout = None  # detrex and mmcv have one; a fork may not
        for name, child in module.named_children():
            setattr(self, name, child)
        self.num_heads, self.num_levels, self.num_points = module.num_heads, module.num_levels, module.num_points
        self.batch_first = bool(module.batch_first)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        **_ignored: Any,
    ) -> Tensor:
        """``query`` (B, Q, E), or (Q, B, E) unless ``batch_first`` -> the same shape, residual added."""
        if reference_points is None or spatial_shapes is None:
            raise ValueError("MmcvAttention: reference_points and spatial_shapes must be given, got None")
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        batch, queries, _ = query.shape
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        points: tuple[int, ...] = (batch, queries, self.num_heads, self.num_levels, self.num_points)
        out = ms_deform_attn_fused(
            value.view(batch, value.shape[1], self.num_heads, -1),
            spatial_shapes,
            reference_points,
            self.sampling_offsets(query).view(*points, 2),
            self.attention_weights(query).view(points),
        )
        out = self.output_proj(out)
        if not self.batch_first:
            out = out.transpose(0, 1)
        out = out if self.dropout is None else self.dropout(out)
        return out + identity  # type: ignore[no-any-return]


def _original(module: Any) -> MSDeformAttn:
    """Our module around the parameters of an original ``MSDeformAttn``."""
    attention = MSDeformAttn(module.d_model, module.n_levels, module.n_heads, module.n_points)
    for part in PROJECTIONS:
        setattr(attention, part, getattr(module, part))
    return attention


_KINDS: tuple[tuple[str, tuple[str, ...], bool, Callable[[nn.Module], nn.Module]], ...] = (
    ("Hugging Face", CORE_CALL, False, CoreAttention),
    ("Deformable DETR", ORIGINAL_CALL, True, _original),
    ("mmcv", MMCV_CALL, True, MmcvAttention),
)


def _is_called(module: nn.Module, call: tuple[str, ...]) -> bool:
    parameters = list(inspect.signature(module.forward).parameters)
    return tuple(parameters[: len(call)]) == call


def _replace(model: nn.Module, name: str, new: nn.Module, old: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    if not last:
        raise ValueError("accelerate_attention: model must contain the attention, got the attention itself")
    new.train(old.training)
    for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
        getattr(new, hooks).update(getattr(old, hooks))
    setattr(model.get_submodule(parent), last, new)
