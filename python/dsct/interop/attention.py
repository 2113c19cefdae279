"""Exchanges the computation of deformable attention in existing models for the package's operator.

Modules are recognised by the way they are called, never by where they come from, so that copies of the well-known
classes in other code bases are found too. A module stays the object that it is, with its parameters, hooks, handles and
attributes: only its class gets a faster ``forward`` in front.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from dsct.modules.ms_deform_attn import MSDeformAttn
from dsct.ops import ms_deform_attn, ms_deform_attn_fused

__all__ = ["accelerate_attention", "restore_attention"]

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
#: Further parameters that repeat what others say, or choose a kernel of the original.
KNOWN_EXTRAS = frozenset({"im2col_step", "input_spatial_shapes_hw"})
PROJECTIONS = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


def accelerate_attention(model: nn.Module) -> dict[str, str]:
    """Exchanges, in place, the computation of every supported deformable attention for the package's operator.

    Supported, and recognised by the parameters of ``forward``, are Hugging Face's ``MultiScaleDeformableAttention``
    (the sampling alone), Deformable DETR's ``MSDeformAttn`` with its copies, such as RF-DETR's, and the
    ``MultiScaleDeformableAttention`` of mmcv and detrex. A module whose ``forward`` takes more than is known of its
    kind is left as it is, with a warning that names it.

    Args:
        model: it is changed; its modules, parameters, hooks and their handles stay. :func:`restore_attention` undoes
            it.

    Returns:
        Name in the model -> its kind, for every module that was exchanged; empty if there was none.

    Raises:
        TypeError: `model` is not a module.

    Example:
        >>> from dsct.interop.attention import accelerate_attention
        >>> accelerate_attention(nn.Sequential(nn.Linear(1, 1)))
        {}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate_attention: model must be a torch.nn.Module, got {type(model).__name__}")
    kinds: dict[nn.Module, str] = {}
    for name, module in model.named_modules():
        exchange = None if isinstance(module, (MSDeformAttn, _Exchanged)) else _exchange_for(module, name)
        if exchange is not None:
            module.__class__ = _class_of(exchange, type(module))  # type: ignore[arg-type]
            kinds[module] = exchange.kind
    return {name: kinds[module] for name, module in model.named_modules(remove_duplicate=False) if module in kinds}


def restore_attention(model: nn.Module, keep: Collection[nn.Module] = ()) -> None:
    """Undoes :func:`accelerate_attention`, in place.

    Args:
        model: as it was given to :func:`accelerate_attention`.
        keep: modules that stay exchanged.

    Example:
        >>> restore_attention(nn.Linear(1, 1))
    """
    for module in model.modules():
        if isinstance(module, _Exchanged) and module not in keep:
            module.__class__ = type(module).__bases__[1]


def exchanged_modules(model: nn.Module) -> set[nn.Module]:
    """The modules that :func:`restore_attention` would restore."""
    return {module for module in model.modules() if isinstance(module, _Exchanged)}


class _Exchanged:
    """In front of a module's own class."""

    kind: str
    call: tuple[str, ...]
    has_projections = True

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For pickle and ``deepcopy``, which do not find a class that was made here by its name."""
        reduced: Any = super().__reduce_ex__(protocol)
        exchange, original = type(self).__bases__
        return (_blank, (exchange, original), *reduced[2:])


class CoreAttention(_Exchanged):
    """The sampling alone, as Hugging Face calls it."""

    kind, call, has_projections = "Hugging Face", CORE_CALL, False

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


class OriginalAttention(_Exchanged, MSDeformAttn):
    """The whole module as Deformable DETR calls it."""

    kind, call = "Deformable DETR", ORIGINAL_CALL

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        input_flatten: Tensor,
        input_spatial_shapes: Any,
        input_level_start_index: Any,
        input_padding_mask: Tensor | None = None,
        input_spatial_shapes_hw: Any = None,
    ) -> Tensor:
        """As :meth:`dsct.MSDeformAttn.forward`; one level of reference points may stand for all."""
        if reference_points.ndim == 4 and reference_points.shape[2] == 1:
            reference_points = reference_points.expand(-1, -1, self.n_levels, -1)
        return super().forward(
            query, reference_points, input_flatten, input_spatial_shapes, input_level_start_index, input_padding_mask
        )


class MmcvAttention(_Exchanged):
    """The whole module as mmcv and detrex call it, with residual and dropout."""

    kind, call = "mmcv", MMCV_CALL
    sampling_offsets: nn.Module
    attention_weights: nn.Module
    value_proj: nn.Module
    output_proj: nn.Module
    batch_first: bool
    num_heads: int
    num_levels: int
    num_points: int

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
        dropout = getattr(self, "dropout", None)  # detrex and mmcv have one; a fork may not
        out = out if dropout is None else dropout(out)
        return out + identity  # type: ignore[no-any-return]


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_EXCHANGES: tuple[type[_Exchanged], ...] = (CoreAttention, OriginalAttention, MmcvAttention)


@functools.cache
def _class_of(exchange: type, original: type) -> Any:
    return type(original.__name__, (exchange, original), {"__module__": original.__module__})


def _blank(exchange: type, original: type) -> Any:
    made = _class_of(exchange, original)
    return made.__new__(made)


def _exchange_for(module: nn.Module, name: str) -> type[_Exchanged] | None:
    """What computes in place of the module, or None."""
    parameters = inspect.signature(module.forward).parameters
    has_projections = all(hasattr(module, part) for part in PROJECTIONS)
    for exchange in _EXCHANGES:
        known = len(exchange.call)
        if tuple(parameters)[:known] != exchange.call or has_projections != exchange.has_projections:
            continue
        named = {each for each in list(parameters)[known:] if parameters[each].kind not in _VARIADIC}
        if not named <= KNOWN_EXTRAS:
            extras = ", ".join(sorted(named - KNOWN_EXTRAS))
            warnings.warn(
                f"{name or 'the model'} ({type(module).__name__}) is left as it is: its forward also takes {extras}",
                stacklevel=3,
            )
            return None
        return exchange
    return None
