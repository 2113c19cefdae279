"""A DSCT from a Deformable DETR: its backbone, encoder and queries, which become the context."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from dsct.checkpoint.hugging_face import sizes_of_config, unkept_by_config
from dsct.checkpoint.pretrained import load_pretrained
from dsct.checkpoint.sizes import sizes_of
from dsct.config import DSCTConfig, context_sets
from dsct.interop.unkept import unkept_by_modules
from dsct.modules import DSCT

__all__ = ["convert"]


def convert(
    model: nn.Module,
    num_subject_queries: int,
    num_classes: int,
    *,
    multi_label: bool = True,
    class_names: Sequence[str] | None = None,
    reuse_box_head: bool = False,
    allow_partial: bool = False,
    verbose: bool = True,
    **config: Any,
) -> DSCT:
    """Builds an emotion model from a Deformable DETR of the original code or of a fork with its parameter names.

    Sizes are read from the weights, and from the ``config`` of a Hugging Face model. Heads, subject queries and
    whatever else the detector does not have are new; the printed report says which. So does it of what changes the
    meaning of the weights and cannot be kept, such as a dilated backbone, another activation or ``eps`` of a norm.

    Args:
        model: the detector; it is not changed.
        num_subject_queries: N, the largest number of people that can be found.
        num_classes: C emotions.
        multi_label: whether a person can show several.
        class_names: C names.
        reuse_box_head: start from the detector's box head.
        allow_partial: take the rest of a detector whose backbone is not the model's, as :func:`dsct.load_pretrained`.
        verbose: print what was reused; otherwise what cannot be kept is a ``UserWarning``.
        **config: further fields of :class:`dsct.DSCTConfig`. ``nheads`` and the numbers of points are in no weights:
            those of a Hugging Face ``config`` or of the attention modules, otherwise 8 and 4 unless given. What differs
            from the detector is in the report.

    Returns:
        The model, in training mode.

    Raises:
        TypeError: `model` is not a module, or an argument is of another type.
        ValueError: the weights are not those of a Deformable DETR with a ResNet, or the backbones differ and not
            `allow_partial`.

    Example:
        >>> import dsct
        >>> detector = dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=0))  # has the names of a Deformable DETR
        >>> model = convert(detector, 4, 7, multi_label=False, nheads=4, verbose=False)
        >>> model.config.num_context_queries, model.config.num_subject_queries
        (32, 4)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert: model must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(class_names, str) or not isinstance(class_names, Sequence | None):
        raise TypeError(f"convert: class_names must be a list of names or None, got {type(class_names).__name__}")
    tensors: dict[str, Any] = dict(model.state_dict())
    own: Any = getattr(model, "config", None)
    text: str = own.to_json_string(use_diff=False) if hasattr(own, "to_json_string") else "{}"
    sizes = {**sizes_of(tensors), **_sizes_of_modules(model), **sizes_of_config(text)}
    names = None if class_names is None else tuple(class_names)
    built = DSCT(
        DSCTConfig(
            **_fields(sizes, config), num_subject_queries=num_subject_queries, num_classes=num_classes,
            multi_label=multi_label, class_names=names,
        )
    )  # fmt: skip
    report = load_pretrained(built, tensors, reuse_box_head=reuse_box_head, allow_partial=allow_partial, verbose=False)
    changed = (
        f"{name} is {sizes[name]!r} in the detector and {value!r} in the model, as given"
        for name, value in config.items()
        if sizes.get(name, value) != value
    )
    unkept = tuple(dict.fromkeys((*changed, *unkept_by_config(text), *unkept_by_modules(model, built))))
    if verbose:
        print(dataclasses.replace(report, warnings=(*report.warnings, *unkept)))
    else:
        for sentence in unkept:
            warnings.warn(sentence, stacklevel=2)
    return built


def _fields(sizes: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Of the configuration: the detector's sizes, unless others are given."""
    known = {**sizes, **config}
    missing = [name for name in ("backbone", "hidden_dim", "enc_layers", "dec_layers") if name not in known]
    if missing:
        raise ValueError(f"model must be a Deformable DETR with a ResNet, its weights do not tell {', '.join(missing)}")
    sizes = {name: size for name, size in sizes.items() if name != "num_subject_queries"}
    return {**sizes, **context_sets(known.get("num_context_queries", 0)), **config}


def _sizes_of_modules(model: nn.Module) -> dict[str, int]:
    """Heads and points, which attention modules have as attributes of one of the usual names."""
    sizes: dict[str, int] = {}
    for name, module in model.named_modules():
        part = re.search(r"\b(encoder|decoder)\.layers\.0\.", name)
        if part is None or not hasattr(module, "sampling_offsets"):
            continue
        for field, attribute in (("nheads", "heads"), (f"{part[1][:3]}_n_points", "points")):
            for size in (getattr(module, f"{prefix}_{attribute}", None) for prefix in ("n", "num")):
                if type(size) is int:
                    sizes.setdefault(field, size)
    return sizes
