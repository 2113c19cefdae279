"""Compares one attention module with what would compute in its place, on small random weights and inputs.

Weights are random because those at the start hide differences: offsets do not depend on the query, and all points count
alike. Everything happens in float32, on a view of the module without its hooks, so that nobody notices.
"""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dsct.interop.calls import Kind
from dsct.interop.difference import LARGEST, difference, says_nothing
from dsct.interop.views import copied, view_with

_IMAGES, _QUERIES = 2, 6
#: Heads, levels and points, and channels of a head, where the module leaves them open.
_SIZES, _CHANNELS = (2, 2, 2), 8
#: Parameter of a known ``forward`` -> what it means; what is not here is not given.
_MEANING = {
    "query": "query", "query_pos": "query_pos", "identity": "identity",
    "value": "value", "input_flatten": "value",
    "reference_points": "points", "refer_bbox": "points of one level",
    "input_spatial_shapes": "shapes", "spatial_shapes": "shapes", "value_spatial_shapes": "shapes",
    "value_shapes": "list of shapes", "value_spatial_shapes_list": "list of shapes",
    "input_spatial_shapes_hw": "list of shapes",
    "input_level_start_index": "starts", "level_start_index": "starts",
    "input_padding_mask": "padding", "value_mask": "padding", "key_padding_mask": "padding",
    "sampling_locations": "locations", "attention_weights": "weights", "im2col_step": "step",
}  # fmt: skip


class NotComparableError(Exception):
    """The module does not run on random inputs; the message says why.

    Example:
        >>> str(NotComparableError("RuntimeError: needs a GPU"))
        'RuntimeError: needs a GPU'
    """


def other_computation(module: nn.Module, kind: Kind, device: torch.device) -> str:
    """What the module computes otherwise than `kind` does; empty if it is the same.

    Args:
        module: of the kind, by its call.
        kind: what would compute instead.
        device: where to compare.

    Raises:
        NotComparableError: the module itself does not run.

    Example:
        >>> import dsct
        >>> from dsct.interop.calls import KINDS
        >>> kind = next(kind for kind in KINDS if kind.name == "Deformable DETR")
        >>> other_computation(dsct.MSDeformAttn(32, 1, 4, 2), kind, torch.device("cpu"))
        ''
    """
    forks = [device] if device.type == "cuda" else []
    with (
        torch.no_grad(),
        torch.random.fork_rng(forks),
        torch.autocast(device.type, enabled=False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return _compared(module, kind, device)


def _compared(module: nn.Module, kind: Kind, device: torch.device) -> str:
    try:
        random = torch.Generator().manual_seed(0)
        twin: Any = _without_hooks(view_with(module, lambda tensor: _randomised(tensor, random, device)))
        calls = list(_calls(twin, kind, random, device))
    except Exception as error:
        raise NotComparableError(_said(error)) from error
    failure, compared = "", False
    for call in calls:
        try:
            expected = twin.forward(**copied(call))
        except Exception as error:  # it may not know boxes, or padding; or it needs a GPU
            failure = _said(error)
            continue
        if not isinstance(expected, Tensor):
            return f"it returns {type(expected).__name__} instead of a tensor"
        if says_nothing(expected):
            return "its outputs on random inputs are not finite, so there is nothing to compare with"
        try:
            found = kind.forward(twin, **copied(call))
        except Exception as error:
            return f"it takes what the operator does not ({_said(error)})"
        changed, compared = difference(found, expected), True
        if not changed < LARGEST:
            return f"it computes something other than deformable attention, outputs changed by {changed:.1e}"
    if not compared:
        raise NotComparableError(failure)
    return ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _randomised(tensor: Tensor, random: torch.Generator, device: torch.device) -> Tensor:
    """Parameters of such a size that offsets are about a cell and logits about one; of other tensors the values."""
    if not tensor.is_floating_point():
        return tensor.detach()
    if not isinstance(tensor, nn.Parameter):
        return tensor.detach().to(device, torch.float32)
    scale = 0.5 if tensor.ndim < 2 else tensor.shape[-1] ** -0.5
    return (scale * torch.randn(tensor.shape, generator=random, dtype=torch.float32, device="cpu")).to(device)


def _without_hooks(view: nn.Module) -> nn.Module:
    for module in view.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            vars(module)[name] = OrderedDict()
        vars(module)["_compiled_call_impl"] = None
    return view


def _calls(module: Any, kind: Kind, random: torch.Generator, device: torch.device) -> Iterator[dict[str, Any]]:
    """Arguments by name: points and boxes, with and without what may be left out."""
    parameters = inspect.signature(module.forward).parameters
    for coordinates in (2, 4) if kind.sizes else (2,):
        given = _meanings(module, kind, coordinates, random, device)
        if not getattr(module, "batch_first", True):
            for name in ("query", "query_pos", "identity", "value"):
                given[name] = given[name].transpose(0, 1)
        known = {name: given[_MEANING[name]] for name in parameters if name in _MEANING}
        yield known
        optional = ("padding", "query_pos", "identity")
        if any(_MEANING[name] in optional for name in known):
            yield {name: value for name, value in known.items() if _MEANING[name] not in optional}


def _meanings(
    module: Any, kind: Kind, coordinates: int, random: torch.Generator, device: torch.device
) -> dict[str, Any]:
    heads, levels, points = (getattr(module, name) for name in kind.sizes) if kind.sizes else _SIZES
    shapes = [(5 + level % 3, 7 - level % 4) for level in range(levels)]
    sizes = [height * width for height, width in shapes]
    cells, queries = sum(sizes), _QUERIES

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float32, device="cpu").to(device)

    def between(low: float, high: float, *shape: int) -> Tensor:
        uniform = torch.rand(shape, generator=random, dtype=torch.float32, device="cpu")
        return (low + (high - low) * uniform).to(device)

    width = module.sampling_offsets.in_features if kind.sizes else 0
    channels = (module.value_proj.in_features,) if kind.sizes else (heads, _CHANNELS)
    boxes = between(0.2, 0.8, _IMAGES, queries, levels, coordinates)
    padding = torch.zeros(_IMAGES, cells, dtype=torch.bool, device=device)
    padding[-1, cells // 2 :] = True
    weights = normal(_IMAGES, queries, heads, levels * points).softmax(-1)
    return {
        "query": normal(_IMAGES, queries, width),
        "query_pos": normal(_IMAGES, queries, width),
        "identity": normal(_IMAGES, queries, width),
        "value": normal(_IMAGES, cells, *channels),
        "points": boxes,
        "points of one level": boxes[:, :, :1],
        "shapes": torch.tensor(shapes, device=device),
        "list of shapes": shapes,
        "starts": torch.tensor([sum(sizes[:level]) for level in range(levels)], device=device),
        "padding": padding,
        "locations": between(-0.2, 1.2, _IMAGES, queries, heads, levels, points, 2),
        "weights": weights.view(_IMAGES, queries, heads, levels, points),
        "step": 64,
    }
