"""Reading weights files without running code from them, and writing files that are never half there."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch

from dsct.config import DSCTConfig

CONFIG_KEY = "dsct_config"
#: Plain attributes that a model may carry, and their names in a file.
OPTIONAL_KEYS = {"preprocess": "dsct_preprocess", "thresholds": "dsct_thresholds"}
StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file.

    Attributes:
        tensors: parameters and buffers by name.
        metadata: JSON texts by key, at least ``dsct_config`` in a native file, none in a foreign one.
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
        path: a safetensors file, or a PyTorch file that holds a state dict, bare or under ``"model"`` or
            ``"state_dict"`` (the released DSCT and Deformable DETR checkpoints, and ``last.pt`` of a training run).

    Returns:
        The tensors, on the CPU, without a leading ``module.``, and the metadata of a native file.

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
    return Checkpoint(tensors, {key: content[key] for key in (CONFIG_KEY, *OPTIONAL_KEYS.values()) if key in content})


def read_pickled_tensors(path: Path) -> dict[str, Any]:
    """The dictionary in a PyTorch file, with tensors on the CPU; anything but plain data and a Namespace is refused."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever bytes that are no PyTorch file do to the unpickler
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is no readable PyTorch file of plain tensors: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary, got {type(content).__name__}")
    return content


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
    return Checkpoint(tensors, metadata)


def _find_state_dict(content: Mapping[str, Any]) -> StateDict | None:
    for candidate in (content.get("model"), content.get("state_dict"), content):
        if isinstance(candidate, Mapping) and all(isinstance(value, torch.Tensor) for value in candidate.values()):
            return dict(candidate)
    return None
