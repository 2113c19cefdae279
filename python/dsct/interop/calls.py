"""The ways in which deformable attention is called elsewhere, and what computes in place of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from dsct.modules.block import coordinate_dtype
from dsct.ops import ms_deform_attn, ms_deform_attn_fused

PROJECTIONS = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


def _core(
    _module: Any,
    value: Tensor,
    value_spatial_shapes: Any,
    value_spatial_shapes_list: list[tuple[int, int]] | None,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int | None = None,
) -> Tensor:
    """The sampling alone: (B, S, M, D), …, (B, Q, M, L, P, 2), (B, Q, M, L, P) -> (B, Q, M · D)."""
    shapes = value_spatial_shapes if value_spatial_shapes_list is None else value_spatial_shapes_list
    return ms_deform_attn(value, _in_whole_numbers(shapes), None, sampling_locations, attention_weights)


def _original(
    module: Any,
    query: Tensor,
    reference_points: Tensor,
    input_flatten: Tensor,
    input_spatial_shapes: Any,
    input_level_start_index: Any = None,
    input_padding_mask: Tensor | None = None,
    input_spatial_shapes_hw: Any = None,
) -> Tensor:
    """As :meth:`dsct.MSDeformAttn.forward`."""
    shapes = input_spatial_shapes if input_spatial_shapes_hw is None else input_spatial_shapes_hw
    sizes = (module.n_heads, module.n_levels, module.n_points)
    return _attend(module, sizes, query, reference_points, input_flatten, shapes, input_padding_mask)


def _ultralytics(
    module: Any,
    query: Tensor,
    refer_bbox: Tensor,
    value: Tensor,
    value_shapes: Any,
    value_mask: Tensor | None = None,
) -> Tensor:
    """As :func:`_original`, under other names and without the levels' starts."""
    return _original(module, query, refer_bbox, value, value_shapes, None, value_mask)


def _mmcv(
    module: Any,
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
        raise ValueError("MultiScaleDeformableAttention: reference_points and spatial_shapes must be given, got None")
    value = query if value is None else value
    identity = query if identity is None else identity
    query = query if query_pos is None else query + query_pos
    if not module.batch_first:
        query, value = query.transpose(0, 1), value.transpose(0, 1)
    sizes = (module.num_heads, module.num_levels, module.num_points)
    out = _attend(module, sizes, query, reference_points, value, spatial_shapes, key_padding_mask)
    out = out if module.batch_first else out.transpose(0, 1)
    dropout = getattr(module, "dropout", None)  # detrex and mmcv have one; a fork may not
    return (out if dropout is None else dropout(out)) + identity


def _attend(
    module: Any,
    sizes: tuple[int, int, int],
    query: Tensor,
    reference_points: Tensor,
    value: Tensor,
    shapes: Any,
    padding: Tensor | None,
) -> Tensor:
    """Projections by the module's own parts, so that what hangs on these takes part: (B, Q, E), …, (B, S, E)."""
    heads, levels, points = sizes
    value = module.value_proj(value)
    if padding is not None:
        value = value.masked_fill(padding.bool()[..., None], 0.0)
    if reference_points.ndim == 4:  # one for all images, queries or levels
        wanted = (*query.shape[:2], levels)
        expanded = [wanted[i] if reference_points.shape[i] == 1 else -1 for i in range(3)]
        reference_points = reference_points.expand(*expanded, -1)
    offsets = module.sampling_offsets(query).unflatten(-1, (heads, levels, points, 2))
    logits = module.attention_weights(query).unflatten(-1, (heads, levels, points))
    reference_points = reference_points.to(coordinate_dtype(query.dtype))
    value = value.view(*value.shape[:2], heads, -1)
    out = ms_deform_attn_fused(value, _in_whole_numbers(shapes), reference_points, offsets, logits)
    return module.output_proj(out)  # type: ignore[no-any-return]


def _in_whole_numbers(shapes: Any) -> Any:
    """Sizes of levels that are floating-point numbers as integers; if they are not whole, as they are."""
    if isinstance(shapes, Tensor):
        whole = shapes.is_floating_point() and bool((shapes == shapes.round()).all() & shapes.isfinite().all())
        return shapes.long() if whole else shapes
    if not isinstance(shapes, list | tuple):
        return shapes
    return [
        [int(size) if isinstance(size, float) and size.is_integer() else size for size in pair]
        if isinstance(pair, list | tuple)
        else pair
        for pair in shapes
    ]


class Kind(NamedTuple):
    """A way of being called.

    Attributes:
        name: for the user.
        call: first parameters of ``forward``.
        sizes: attributes that hold heads, levels and points; none for a module without projections.
        forward: what computes instead.
    """

    name: str
    call: tuple[str, ...]
    sizes: tuple[str, ...]
    forward: Callable[..., Tensor]

    def resembles(self, module: nn.Module) -> bool:
        """Whether the module is called as this kind is, and has its projections or, for this kind, none."""
        has_projections = all(hasattr(module, part) for part in PROJECTIONS)
        return has_projections == bool(self.sizes) and tuple(_parameters(module))[: len(self.call)] == self.call

    def obstacle(self, module: nn.Module) -> str:
        """Why the module cannot be exchanged all the same; empty if it can."""
        if "forward" in vars(module):
            return "its forward was exchanged by something else already"
        own = inspect.signature(self.forward).parameters
        taken = {*own, *(each.kind for each in own.values() if each.kind is inspect.Parameter.VAR_KEYWORD)}
        extras = list(_parameters(module).values())[len(self.call) :]
        unknown = [each.name for each in extras if each.name not in taken and each.kind not in taken]
        if unknown:
            return f"its forward also takes {', '.join(unknown)}"
        wrong = [name for name in self.sizes if type(getattr(module, name, None)) is not int]
        if wrong:
            return f"{', '.join(wrong)} must be a whole number"
        return ""


KINDS = (
    Kind(
        "Hugging Face",
        ("value", "value_spatial_shapes", "value_spatial_shapes_list", "level_start_index", "sampling_locations",
         "attention_weights"),
        (),
        _core,
    ),
    Kind(
        "Deformable DETR",
        ("query", "reference_points", "input_flatten", "input_spatial_shapes", "input_level_start_index",
         "input_padding_mask"),
        ("n_heads", "n_levels", "n_points"),
        _original,
    ),
    Kind(
        "Ultralytics",
        ("query", "refer_bbox", "value", "value_shapes", "value_mask"),
        ("n_heads", "n_levels", "n_points"),
        _ultralytics,
    ),
    Kind(
        "mmcv",
        ("query", "key", "value", "identity", "query_pos", "key_padding_mask", "reference_points", "spatial_shapes",
         "level_start_index"),
        ("num_heads", "num_levels", "num_points"),
        _mmcv,
    ),
)  # fmt: skip


def _parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):  # a scripted or built-in forward has no signature
        return {}
