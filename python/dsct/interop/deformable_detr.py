"""A DSCT from a Deformable DETR: its backbone, encoder and queries, which become the context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from dsct.checkpoint.pretrained import load_pretrained
from dsct.checkpoint.sizes import sizes_of
from dsct.config import DSCTConfig, context_sets
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
    verbose: bool = True,
    **config: Any,
) -> DSCT:
    """Builds an emotion model from a Deformable DETR of the original code or of a fork with its parameter names.

    Sizes are read from the weights. Heads, subject queries and whatever else the detector does not have are new; the
    printed report says which.

    Args:
        model: the detector; it is not changed.
        num_subject_queries: N, the largest number of people that can be found.
        num_classes: C emotions.
        multi_label: whether a person can show several.
        class_names: C names.
        reuse_box_head: start from the detector's box head.
        verbose: print what was reused.
        **config: further fields of :class:`dsct.DSCTConfig`. ``nheads`` and the numbers of points cannot be read from
            the weights: 8 and 4 unless given.

    Returns:
        The model, in training mode.

    Raises:
        ValueError: the weights are not those of a Deformable DETR with a ResNet.

    Example:
        >>> import dsct
        >>> detector = dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=0))  # has the names of a Deformable DETR
        >>> model = convert(detector, 4, 7, multi_label=False, nheads=4, verbose=False)
        >>> model.config.num_context_queries, model.config.num_subject_queries
        (32, 4)
    """
    tensors: dict[str, Any] = dict(model.state_dict())
    sizes = sizes_of(tensors)
    missing = [
        name for name in ("backbone", "hidden_dim", "enc_layers", "dec_layers") if name not in {**sizes, **config}
    ]
    if missing:
        raise ValueError(f"model must be a Deformable DETR with a ResNet, its weights do not tell {', '.join(missing)}")
    sizes.pop("num_subject_queries", None)
    context = {**sizes, **config}.get("num_context_queries", 0)
    fields = {**sizes, **context_sets(context), **config}
    names = None if class_names is None else tuple(class_names)
    built = DSCT(
        DSCTConfig(
            **fields, num_subject_queries=num_subject_queries, num_classes=num_classes, multi_label=multi_label,
            class_names=names,
        )
    )  # fmt: skip
    load_pretrained(built, tensors, reuse_box_head=reuse_box_head, verbose=verbose)
    return built
