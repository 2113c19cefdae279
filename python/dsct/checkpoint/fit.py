"""Whether a file and a model are of one architecture and have one backbone, which equal names alone do not ensure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from dsct.checkpoint.architectures import DEFORMABLE_DETR
from dsct.checkpoint.hugging_face import Incoming
from dsct.checkpoint.layouts import DSCT, RESNET, Layout
from dsct.checkpoint.report import summary
from dsct.checkpoint.sizes import backbone_of

if TYPE_CHECKING:
    from dsct.modules import DSCT as Model

#: What a detector with a deformable encoder shares with the model: everything up to the encoder's output.
_SHARED = re.compile(r"backbone\.|input_proj\.|transformer\.(encoder\.|level_embed$)")
#: What torchvision's files have beside a body: the classifier and the counters of its batch norms.
_HEAD_OR_COUNTER = re.compile(r"^backbone\.0\.body\.fc\.|\.num_batches_tracked$")

_THE_REST = "; allow_partial=True, --allow-partial on the command line, takes the rest"


def other_architecture(
    layout: Layout, incoming: Mapping[str, Incoming], source: object, allow_partial: bool
) -> dict[str, str]:
    """What of a file of another architecture than the model's must not be loaded: name in the model -> why.

    Args:
        layout: of the file.
        incoming: its tensors by their names in the model.
        source: the file, named in the error.
        allow_partial: whether the rest may be loaded.

    Returns:
        Nothing for DSCT, Deformable DETR and backbones.

    Raises:
        ValueError: it is another architecture, and `allow_partial` is false.
    """
    if layout.architecture in (DSCT, DEFORMABLE_DETR, RESNET) or layout.is_backbone:
        return {}
    deformable = "transformer.encoder.layers.0.self_attn.sampling_offsets.weight" in incoming
    if not allow_partial:
        raise ValueError(
            f"{source} holds a {layout}, recognised by {layout.key}; the model is a DSCT, built on {DEFORMABLE_DETR}. "
            "Files of another architecture are not loaded; allow_partial=True, --allow-partial on the command line, "
            f"takes the backbone{' and the encoder' if deformable else ''} alone"
        )
    shared = _SHARED if deformable else re.compile(r"backbone\.")
    return {name: f"only a {layout} has it" for name in incoming if not shared.match(name)}


def other_backbone(
    layout: Layout, incoming: Mapping[str, Incoming], model: Model, source: object, allow_partial: bool
) -> dict[str, str]:
    """The tensors of a file's backbone if it is not the model's: name in the model -> why they are not loaded.

    Args:
        layout: of the file.
        incoming: its tensors by their names in the model.
        model: the model to load into.
        source: the file, named in the error.
        allow_partial: whether the rest may be loaded.

    Raises:
        ValueError: the backbones differ, and `allow_partial` is false or the file has nothing else.
    """
    mine = model.config.backbone
    if layout.is_backbone:
        raise ValueError(f"{source} holds a {layout}, recognised by {layout.key}; the model's backbone is {mine}")
    body = {
        name: one.tensor
        for name, one in incoming.items()
        if name.startswith("backbone.") and not _HEAD_OR_COUNTER.search(name)
    }
    state = model.state_dict(keep_vars=True)
    unfit = [name for name, tensor in body.items() if name not in state or state[name].shape != tensor.shape]
    theirs = backbone_of(body)
    if not unfit and (theirs in (None, mine) or mine == "custom"):
        return {}
    described = _described(theirs, unfit)
    if theirs == mine:
        described = f"another {mine} ({_difference(unfit[0], body, state)})"
    if not allow_partial:
        rest = "" if layout.architecture == RESNET else _THE_REST
        raise ValueError(
            f"{source} has {described}, the model has {mine}: weights of another backbone are not loaded{rest}"
        )
    return dict.fromkeys(body, f"of {described}, the model has {mine}")


def _described(backbone: str | None, unfit: list[str]) -> str:
    return f"the backbone {backbone}" if backbone else f"another backbone ({summary(unfit[:3])} …)"


def _difference(name: str, body: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    short = name.removeprefix("backbone.0.body.")
    if name not in state:
        return f"with {short}, which the model has not"
    return f"{short} is {tuple(body[name].shape)}, the model's {tuple(state[name].shape)}"
