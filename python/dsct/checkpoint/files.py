"""Reads weights files without running code from them."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dsct.checkpoint.attributes import OPTIONAL_KEYS, require_attribute
from dsct.checkpoint.hugging_face import files_of_folder
from dsct.checkpoint.seal import require_sealed
from dsct.checkpoint.tensor_files import (
    StateDict,
    find_state_dict,
    is_safetensors,
    read_pickled_tensors,
    read_safetensors,
    require_checksums,
    require_plain,
    without_wrappers,
)
from dsct.complete_files import replaced_when_complete
from dsct.config import DSCTConfig
from dsct.json_text import parse_json, parse_json_object

CONFIG_KEY = "dsct_config"
DIGEST_KEY = "dsct_config_sha256"
HUGGING_FACE_KEY = "hugging_face_config"
OPTIONS_KEY = "released_options"
#: Options of the released code's ``args`` that change the meaning of weights without always showing in a shape.
OPTIONS = ("nheads", "enc_n_points", "dec_n_points")
#: The weights in the folder of a training run.
BEST = "best.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file.

    Attributes:
        tensors: parameters and buffers by name.
        metadata: JSON texts by key: ``dsct_config`` and digests of it and of the tensors in a native file,
            ``hugging_face_config`` from a Hugging Face folder, ``released_options`` from the ``args`` of a released
            checkpoint, none of these in other foreign files.

    Example:
        >>> import torch
        >>> Checkpoint({"weight": torch.zeros(2)}, metadata={}).config is None
        True
    """

    tensors: StateDict
    metadata: dict[str, str]

    @property
    def config(self) -> DSCTConfig | None:
        """The model's configuration, if the file holds one."""
        return DSCTConfig.from_json(self.metadata[CONFIG_KEY]) if CONFIG_KEY in self.metadata else None


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads the tensors of a weights file without running code from it.

    Args:
        path: a safetensors file; a PyTorch file that holds a state dict, bare or under ``"model"`` or ``"state_dict"``
            (the released DSCT and Deformable DETR checkpoints, ``last.pt`` of a training run, ``pytorch_model.bin``);
            a folder that Hugging Face's ``save_pretrained`` wrote, in one file or in several; or the folder of a
            training run, of which ``best.safetensors`` is read.

    Returns:
        The tensors, on the CPU, without the ``module.`` and ``_orig_mod.`` of wrapped models, and the metadata.

    Raises:
        FileNotFoundError: there is no such file, or a folder lacks one of its files.
        ValueError: the file is of another kind, is damaged, would run code or claims more than it contains, its
            metadata are not JSON or nothing that a model can use, or it is no longer what dsct wrote into it.

    Example:
        >>> import dsct, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> dsct.save_model(dsct.DSCT(dsct.DSCTConfig.tiny()), file)
        >>> tuple(read_checkpoint(file).tensors["query_embed_dsct.weight"].shape)
        (8, 128)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no weights file at {path}")
    if not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} must be a file or a folder, not a pipe, socket or device")
    if (path / BEST).is_file():
        path = path / BEST
    metadata: dict[str, str] = {}
    tensors: StateDict = {}
    files = [path]
    if path.is_dir():
        files, config = files_of_folder(path)
        metadata = {HUGGING_FACE_KEY: config} if config is not None else {}
    for file in files:
        part, found = _read_file(file)
        if twice := sorted(part.keys() & tensors.keys()):
            raise ValueError(f"{path} holds {twice[0]} in more than one file")
        tensors.update(part)
        metadata.update(found)
    if CONFIG_KEY in metadata:
        parse_json(metadata[CONFIG_KEY], f"{path}: {CONFIG_KEY}")
    for key in (HUGGING_FACE_KEY, OPTIONS_KEY):
        if key in metadata:
            parse_json_object(metadata[key], f"{path}: {key}")
    _require_sound_config(metadata, path)
    checkpoint = Checkpoint(without_wrappers(tensors, path), metadata)
    for attribute, key in OPTIONAL_KEYS.items():
        if key in metadata:
            classes = None if checkpoint.config is None else checkpoint.config.num_classes
            source = f"{path}: {key}"
            require_attribute(attribute, parse_json(metadata[key], source), classes, source)
    return checkpoint


def config_digest(text: str) -> str:
    """SHA-256 of a configuration, independent of the layout of its JSON.

    It is stored with the weights as ``dsct_config_sha256``, so that a run's ``config.json`` can be tied to its weights:
    ``config_digest(json.dumps(run["model"]))``.

    Args:
        text: JSON, such as :meth:`dsct.DSCTConfig.to_json`.

    Raises:
        ValueError: `text` is not JSON.

    Example:
        >>> config_digest('{"b": 1, "a": 2}') == config_digest('{"a":2,"b":1}')
        True
    """
    content = parse_json(text, "config_digest: text")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_pickled_tensors(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a PyTorch file; an interrupted write leaves an older file intact.

    Args:
        content: anything that :func:`torch.save` takes.
        path: the file; missing folders are created.

    Raises:
        OSError: the disk is full or cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "state.pt"
        >>> write_pickled_tensors({"step": 3}, file)
        >>> torch.load(file)
        {'step': 3}
    """
    # Through memory: torch reports a full disk as an internal error without the reason.
    memory = io.BytesIO()
    torch.save(content, memory)
    with replaced_when_complete(path) as partial:
        partial.write_bytes(memory.getbuffer())


def _read_file(path: Path) -> tuple[StateDict, dict[str, str]]:
    metadata: dict[str, Any]
    if is_safetensors(path):
        tensors, metadata = read_safetensors(path)
        require_sealed(path, metadata)
    else:
        content = read_pickled_tensors(path)
        if CONFIG_KEY in content:
            require_checksums(path)
        tensors = {name: tensor.detach() for name, tensor in find_state_dict(content, path).items()}
        keys = (CONFIG_KEY, DIGEST_KEY, *OPTIONAL_KEYS.values())
        metadata = {key: content[key] for key in keys if key in content}
        for key, value in metadata.items():
            if not isinstance(value, str):
                raise ValueError(f"{path}: {key} must be a JSON text, got {type(value).__name__}")
        if isinstance(options := content.get("args"), argparse.Namespace):
            numbers = {name: value for name, value in vars(options).items() if name in OPTIONS and type(value) is int}
            metadata[OPTIONS_KEY] = json.dumps(numbers)
    require_plain(tensors, path)
    return tensors, metadata


def _require_sound_config(metadata: dict[str, str], path: Path) -> None:
    text, digest = metadata.get(CONFIG_KEY), metadata.get(DIGEST_KEY)
    try:
        if text is not None:
            DSCTConfig.from_json(text)
        fits = digest is None or (text is not None and config_digest(text) == digest)
    except ValueError as error:
        raise ValueError(f"{path} holds no valid dsct configuration: {error}") from error
    if not fits:
        raise ValueError(f"{path} is damaged: its configuration does not have the digest stored with it")
