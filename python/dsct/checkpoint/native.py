"""The native file: every parameter once, and what the model is.

Parameters have the names of the released checkpoints; the heads that all decoder layers share are written under the
first of their names. The safetensors metadata contain, as JSON, the configuration (``dsct_config``) and, if the model
has them, the preprocessing of its input (``dsct_preprocess``) and fitted per-class thresholds (``dsct_thresholds``);
``dsct_config_sha256`` is the digest of the configuration, ``dsct_weights_sha256`` that of all
else in the file. Equal models give equal bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import torch

from dsct.checkpoint.attributes import OPTIONAL_KEYS, require_attribute
from dsct.checkpoint.files import (
    CONFIG_KEY,
    DIGEST_KEY,
    config_digest,
    read_checkpoint,
)
from dsct.checkpoint.report import summary
from dsct.checkpoint.seal import sealed
from dsct.checkpoint.sizes import sizes_of
from dsct.checkpoint.tensor_files import StateDict
from dsct.complete_files import replaced_when_complete
from dsct.json_text import parse_json
from dsct.modules import DSCT
from dsct.modules.shared_module_list import same_bits
from dsct.sound_values import require_finite, require_values_for


def save_model(model: DSCT, path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor] | None = None) -> None:
    """Writes weights and configuration to one safetensors file; an interrupted write leaves an older file intact.

    Args:
        model: has its ``DSCTConfig`` as ``config``; may have ``preprocess``, such as ``{"short_side": 800, "long_side":
            1333}``, and ``thresholds``, one number per class.
        path: the file, usually ending in ``.safetensors``; missing folders are created.
        tensors: a whole ``model.state_dict()`` to write in place of the model's own, which may be sharded across
            processes.

    Raises:
        ValueError: a tensor holds NaN or infinity; `tensors` have other names or shapes than the model's, or differ
            between the names of one parameter; ``preprocess`` is not a dictionary of the two sides, or ``thresholds``
            are not one number in [0, 1] per class. An older file stays as it was.
        OSError: the disk is full or cannot be written.

    Example:
        >>> import dsct, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save_model(dsct.DSCT(dsct.DSCTConfig.tiny()), file)
        >>> load_model(file).config == dsct.DSCTConfig.tiny()
        True
    """
    whole = distinct_tensors(model) if tensors is None else _distinct_of(tensors, model)
    require_finite(whole, f"{path} is not written")
    # Through memory, so that a full disk is an OSError with its reason.
    content = sealed(whole, metadata_of(model))
    with replaced_when_complete(path) as partial:
        partial.write_bytes(content)


def load_model(
    path: str | os.PathLike[str], device: torch.device | str = "cpu", *, backbone: torch.nn.Module | None = None
) -> DSCT:
    """Builds the model that a file describes and loads its weights.

    Args:
        path: written by :func:`save_model` or :func:`dsct.checkpoint.save_released`, the ``last.pt`` of a run, or
            the folder of a run, for its best weights.
        device: device of the model.
        backbone: a module as :class:`dsct.DSCT` takes it, which a file with ``backbone="custom"`` needs; the weights of
            the file replace its own.

    Returns:
        The model in evaluation mode, with the ``preprocess`` and ``thresholds`` of the file as attributes.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: `backbone` is no module.
        ValueError: the file cannot be read, contains no configuration, or its tensors or thresholds do not fit this
            configuration, or are not finite or not of the model's kind of numbers; or `backbone` is missing
            or does not fit.

    Example:
        >>> import dsct, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> dsct.save_model(dsct.DSCT(dsct.DSCTConfig.tiny()), file)
        >>> dsct.load_model(file).config == dsct.DSCTConfig.tiny()
        True
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.config is None:
        raise ValueError(
            f"{path} holds weights without a dsct configuration; build a model and call load_pretrained(model, path), "
            "or convert the file once with `dsct convert`"
        )
    _require_backbone(backbone, checkpoint.config.backbone, path)
    # Before memory is allocated: a few bytes of configuration may claim any size.
    for field, size in sizes_of(checkpoint.tensors).items():
        claimed = getattr(checkpoint.config, field)
        if field != "backbone" and claimed != size:
            raise ValueError(
                f"{path} does not fit its own configuration: {field} is {claimed}, its tensors have {size}"
            )
    model = DSCT(checkpoint.config, backbone)
    what = "its own configuration" if backbone is None else "this backbone"
    expected, given = set(distinct_tensors(model)), set(checkpoint.tensors) - set(shared_names(model))
    if expected != given:
        raise ValueError(
            f"{path} does not fit {what}: missing {sorted(expected - given)}, unknown {sorted(given - expected)}"
        )
    require_values_for(model.state_dict(keep_vars=True), checkpoint.tensors, path)
    try:
        model.load_state_dict(checkpoint.tensors, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {what}: {error}") from error
    for attribute, key in OPTIONAL_KEYS.items():
        if key in checkpoint.metadata:
            setattr(model, attribute, parse_json(checkpoint.metadata[key], f"{path}: {key}"))
    return model.to(device).eval()


def _require_backbone(backbone: object, named: str, path: object) -> None:
    """Raises if a backbone is needed and missing, or is no module."""
    if backbone is not None and not isinstance(backbone, torch.nn.Module):
        raise TypeError(f"load_model: backbone must be a module, got {type(backbone).__name__}")
    if named == "custom" and backbone is None:
        raise ValueError(
            f"{path} has a backbone of its own kind (backbone='custom'), which must be given as a module: "
            "load_model(path, backbone=module), in Python; Predictor and all else take the model"
        )


def metadata_of(model: DSCT) -> dict[str, str]:
    """The metadata of a model's file: JSON texts by key.

    Raises:
        ValueError: ``preprocess`` is not a dictionary of the two sides, or ``thresholds`` are not one number in [0, 1]
            per class.

    Example:
        >>> import dsct
        >>> sorted(metadata_of(dsct.DSCT(dsct.DSCTConfig.tiny())))
        ['dsct_config', 'dsct_config_sha256']
    """
    config = model.config.to_json()
    metadata = {CONFIG_KEY: config, DIGEST_KEY: config_digest(config)}
    for attribute, key in OPTIONAL_KEYS.items():
        value = getattr(model, attribute, None)
        if value is not None:
            require_attribute(attribute, value, model.config.num_classes, f"model.{attribute}")
            metadata[key] = json.dumps(value)
    return metadata


def distinct_tensors(model: torch.nn.Module) -> StateDict:
    """The state dict with every shared tensor under its first name only.

    Example:
        >>> import dsct
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny())
        >>> len(distinct_tensors(model)) + len(shared_names(model)) == len(model.state_dict())
        True
    """
    shared = shared_names(model)
    return {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if name not in shared}


def shared_names(model: torch.nn.Module) -> dict[str, str]:
    """Further names of tensors that occur more than once in the state dict, each with the first name.

    Example:
        >>> import dsct
        >>> shared_names(dsct.DSCT(dsct.DSCTConfig.tiny()))["class_embed_dsct.1.bias"]
        'class_embed_dsct.0.bias'
    """
    first: dict[int, str] = {}
    shared = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        original = first.setdefault(id(tensor), name)
        if original != name:
            shared[name] = original
    return shared


def _distinct_of(tensors: Mapping[str, torch.Tensor], model: torch.nn.Module) -> StateDict:
    """`tensors` under the first names only, checked against the model that they replace."""
    own, shared = model.state_dict(keep_vars=True), shared_names(model)
    if own.keys() != tensors.keys():
        missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise ValueError(
            "save_model: tensors must have the names of the model's state dict: "
            f"missing {summary(missing) or 'none'}, unknown {summary(unknown) or 'none'}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"got {tuple(tensor.shape)}, the model has {tuple(own[name].shape)}"
            raise ValueError(f"save_model: tensors must have the shapes of the model's: {name}: {shapes}")
        first = tensors[shared.get(name, name)]
        if not same_bits(tensor, first):
            raise ValueError(f"save_model: tensors must agree where the model shares: {name} is not {shared[name]}")
    return {name: tensor for name, tensor in tensors.items() if name not in shared}
