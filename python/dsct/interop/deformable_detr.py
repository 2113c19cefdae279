"""A DSCT from a Deformable DETR: its backbone, encoder and queries, which become the context."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from dsct.checkpoint.hugging_face import sizes_of_config, unkept_by_config
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

    Sizes are read from the weights, and from the ``config`` of a Hugging Face model. Heads, subject queries and
    whatever else the detector does not have are new; the printed report says which. So does it of what changes the
    meaning of the weights and cannot be kept, such as a dilated backbone or another activation.

    Args:
        model: the detector; it is not changed.
        num_subject_queries: N, the largest number of people that can be found.
        num_classes: C emotions.
        multi_label: whether a person can show several.
        class_names: C names.
        reuse_box_head: start from the detector's box head.
        verbose: print what was reused; otherwise what cannot be kept is a ``UserWarning``.
        **config: further fields of :class:`dsct.DSCTConfig`. ``nheads`` and the numbers of points are in no weights:
            those of a Hugging Face ``config``, otherwise 8 and 4 unless given.

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
    own: Any = getattr(model, "config", None)
    text: str = own.to_json_string(use_diff=False) if hasattr(own, "to_json_string") else "{}"
    sizes = {**sizes_of(tensors), **sizes_of_config(text)}
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
    report = load_pretrained(built, tensors, reuse_box_head=reuse_box_head, verbose=False)
    unkept = tuple(dict.fromkeys((*unkept_by_config(text), *_unkept_by_modules(model))))
    if verbose:
        print(dataclasses.replace(report, warnings=(*report.warnings, *unkept)))
    else:
        for sentence in unkept:
            warnings.warn(sentence, stacklevel=2)
    return built


def _unkept_by_modules(model: nn.Module) -> Iterator[str]:
    """What the modules do otherwise than a DSCT's, and no tensor shows."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and "backbone" in name and set(module.dilation) != {1}:
            yield "the last stage of the file's backbone is dilated (DC5), the model's is not"
    for name, module in model.named_modules():
        if not re.search(r"\b(encoder|decoder)\.layers\.\d+(\.mlp)?$", name):
            continue
        for attribute in ("activation", "activation_fn"):
            function = getattr(module, attribute, None)
            found = getattr(function, "__name__", type(function).__name__).lower()
            if callable(function) and not found.startswith("relu"):
                part = "encoder" if "encoder.layers" in name else "decoder"
                yield f"the activation of the {part} is {found} in the detector and relu in the model"
