"""The native file: every parameter once, and what the model is.

Parameters have the names of the released checkpoints; the heads that all decoder layers share are written under the
first of their names. The safetensors metadata holds as JSON the configuration (``dsct_config``) and, where the model
has them, what it expects of its input (``dsct_preprocess``) and fitted per-class thresholds (``dsct_thresholds``);
``dsct_config_sha256`` is the digest of the configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import safetensors.torch
import torch

from dsct.checkpoint.files import (
    CONFIG_KEY,
    DIGEST_KEY,
    OPTIONAL_KEYS,
    config_digest,
    read_checkpoint,
    replaced_when_complete,
)
from dsct.checkpoint.tensor_files import StateDict

if TYPE_CHECKING:
    from dsct import DSCT


def save_model(model: DSCT, path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor] | None = None) -> None:
    """Writes weights and configuration to one safetensors file; an interrupted write leaves an older file intact.

    Args:
        model: has its ``DSCTConfig`` as ``config``; may have ``preprocess``, such as ``{"short_side": 800, "long_side":
            1333}``, and ``thresholds``, one number per class.
        path: the file, ending in ``.safetensors`` by custom; missing folders are made.
        tensors: whole tensors by name to write in place of the model's own, which may be sharded over processes.

    Raises:
        OSError: the disk is full or cannot be written.

    Example:
        >>> import dsct, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save_model(dsct.DSCT(dsct.DSCTConfig.tiny()), file)
        >>> load_model(file).config == dsct.DSCTConfig.tiny()
        True
    """
    own = distinct_tensors(model)
    whole = own if tensors is None else {name: tensors[name] for name in own}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in whole.items()}
    # By way of memory, so that a full disk is an OSError with its reason.
    content = safetensors.torch.save(dict(tensors), metadata=metadata_of(model))
    with replaced_when_complete(path) as partial:
        partial.write_bytes(content)


def load_model(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> DSCT:
    """Builds the model that a file describes and fills it.

    Args:
        path: written by :func:`save_model` or :func:`dsct.checkpoint.save_released`, or the ``last.pt`` of a run.
        device: where the model is put.

    Returns:
        The model in evaluation mode, with the ``preprocess`` and ``thresholds`` of the file as attributes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, holds no configuration, or its tensors do not fit this configuration.
    """
    import dsct

    checkpoint = read_checkpoint(path)
    if checkpoint.config is None:
        raise ValueError(
            f"{path} holds weights without a dsct configuration; build a model and call load_pretrained(model, path), "
            "or convert the file once with `dsct convert`"
        )
    model = dsct.DSCT(checkpoint.config)
    expected, given = set(distinct_tensors(model)), set(checkpoint.tensors) - set(shared_names(model))
    if expected != given:
        raise ValueError(
            f"{path} does not fit its own configuration: missing {sorted(expected - given)}, "
            f"unknown {sorted(given - expected)}"
        )
    try:
        model.load_state_dict(checkpoint.tensors, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its own configuration: {error}") from error
    for attribute, key in OPTIONAL_KEYS.items():
        if key in checkpoint.metadata:
            try:
                setattr(model, attribute, json.loads(checkpoint.metadata[key]))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: {key} is no JSON: {error}") from error
    return model.to(device).eval()


def metadata_of(model: DSCT) -> dict[str, str]:
    """What a file says about a model besides its tensors: JSON texts by key."""
    config = model.config.to_json()
    metadata = {CONFIG_KEY: config, DIGEST_KEY: config_digest(config)}
    for attribute, key in OPTIONAL_KEYS.items():
        value = getattr(model, attribute, None)
        if value is not None:
            metadata[key] = json.dumps(value)
    return metadata


def distinct_tensors(model: torch.nn.Module) -> StateDict:
    """The state dict with every shared tensor under its first name only."""
    shared = shared_names(model)
    return {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if name not in shared}


def shared_names(model: torch.nn.Module) -> dict[str, str]:
    """Further names of tensors that occur more than once in the state dict, each with the first name."""
    first: dict[int, str] = {}
    shared = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        original = first.setdefault(id(tensor), name)
        if original != name:
            shared[name] = original
    return shared
