"""Weights on disk: one safetensors file with the model's configuration inside; other people's files, read safely.

The native file holds every parameter once, under the name of the released checkpoints, and the configuration as JSON
in the safetensors metadata under ``dsct_config``. The heads that all decoder layers share are written under the first
of their names.
"""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from dsct.config import DSCTConfig

if TYPE_CHECKING:
    from dsct import DSCT

CONFIG_KEY = "dsct_config"
StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file.

    Attributes:
        tensors: parameters and buffers by name.
        config: the model's configuration, if the file holds one.
    """

    tensors: StateDict
    config: DSCTConfig | None


def save_model(model: DSCT, path: str | os.PathLike[str]) -> None:
    """Writes weights and configuration to one safetensors file; an interrupted write leaves an older file intact.

    Args:
        model: has its ``DSCTConfig`` as ``cfg``.
        path: the file, ending in ``.safetensors`` by custom; missing folders are made.

    Example:
        >>> import dsct, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save_model(dsct.DSCT(dsct.DSCTConfig.tiny()), file)
        >>> load_model(file).cfg == dsct.DSCTConfig.tiny()
        True
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in distinct_tensors(model).items()}
    with replaced_when_complete(path) as partial:
        safetensors.torch.save_file(tensors, partial, metadata={CONFIG_KEY: model.cfg.to_json()})


def load_model(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> DSCT:
    """Builds the model that a file describes and fills it.

    Args:
        path: written by :func:`save_model`, or the ``last.pt`` of a training run.
        device: where the model is put.

    Returns:
        The model in evaluation mode.

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
    return model.to(device).eval()


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads the tensors of a weights file without running code from it.

    Args:
        path: a safetensors file, or a PyTorch file that holds a state dict, bare or under ``"model"`` or
            ``"state_dict"`` (the released DSCT and Deformable DETR checkpoints, and ``last.pt`` of a training run).

    Returns:
        The tensors, on the CPU, without a leading ``module.``, and the configuration if there is one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, is damaged, or would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_pickled_tensors(path)
    tensors = _find_state_dict(content)
    if tensors is None:
        raise ValueError(f"{path} holds no state dict: expected name -> tensor, bare or under 'model' or 'state_dict'")
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    text = content.get(CONFIG_KEY)
    return Checkpoint(tensors, DSCTConfig.from_json(text) if isinstance(text, str) else None)


def read_pickled_tensors(path: Path) -> dict[str, Any]:
    """The dictionary in a PyTorch file, with tensors on the CPU; anything but plain data and a Namespace is refused."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is no readable PyTorch file of plain tensors: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary, got {type(content).__name__}")
    return content


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


@contextmanager
def replaced_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and moves it there only when the block ends without error.

    Args:
        path: the final file; its folder is made if missing.

    Yields:
        The path to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from error
    return Checkpoint(tensors, DSCTConfig.from_json(metadata[CONFIG_KEY]) if CONFIG_KEY in metadata else None)


def _find_state_dict(content: Mapping[str, Any]) -> StateDict | None:
    for candidate in (content.get("model"), content.get("state_dict"), content):
        if isinstance(candidate, Mapping) and all(isinstance(value, torch.Tensor) for value in candidate.values()):
            return dict(candidate)
    return None
