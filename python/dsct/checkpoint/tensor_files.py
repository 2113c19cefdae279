"""Tensors from a file of unknown origin: nothing in it is run, and its claims are checked against its content."""

from __future__ import annotations

import argparse
import errno
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch

StateDict = dict[str, torch.Tensor]

_ZIP = b"PK\x03\x04"


def is_safetensors(path: Path) -> bool:
    """Whether a file is to be read as safetensors: by its suffix, or by the JSON header after the header's length."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return path.suffix == ".safetensors" or (start[8:] == b"{" and length <= path.stat().st_size)


def read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        ValueError: the file is damaged or of another kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except OSError:
        raise
    except Exception as error:  # a header may also name a dtype that torch lacks, or an impossible shape
        raise ValueError(f"{path} is no readable safetensors file: {_first_line(error)}") from error
    return tensors, metadata


def read_pickled_tensors(path: Path) -> dict[str, Any]:
    """The dictionary in a PyTorch file, with tensors on the CPU.

    Raises:
        ValueError: the file is damaged, of another kind, contains anything but plain data and an
            ``argparse.Namespace``, or claims more bytes than it has.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "state.pt"
        >>> torch.save({"weight": torch.zeros(2)}, file)
        >>> read_pickled_tensors(file)
        {'weight': tensor([0., 0.])}
    """
    _require_known_start(path)
    try:
        _require_honest_archive(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are not a PyTorch file can do anything to the unpickler
        # EINVAL comes from an offset that points outside a damaged archive; other reasons are the system's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{path} is no readable PyTorch file of plain tensors: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary, got {type(content).__name__}")
    return content


def require_checksums(path: Path) -> None:
    """Compares the checksums in an archive that dsct wrote with its content.

    torch does not compare them, and other people's programs may leave them out.

    Raises:
        ValueError: the content is another than the one that was written.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{path} is damaged or was changed: {damaged} in it does not have the checksum stored with it")


def find_state_dict(content: Mapping[str, Any], path: Path) -> StateDict:
    """The state dict in the content of a PyTorch file: under ``"model"`` or ``"state_dict"``, or the content itself.

    Raises:
        ValueError: there is none.
    """
    for candidate in (content.get("model"), content.get("state_dict"), content):
        if isinstance(candidate, Mapping) and all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in candidate.items()
        ):
            return dict(candidate)
    raise ValueError(f"{path} holds no state dict: expected name -> tensor, bare or under 'model' or 'state_dict'")


def require_plain(tensors: StateDict, source: object) -> None:
    """Raises for tensors that cannot be weights.

    Raises:
        ValueError: one is sparse, quantized, without data, or has more elements than numbers stored for it (a few bytes
            in a file could otherwise ask for any amount of memory).
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ValueError(f"{source}: {name} must be a plain dense tensor, got {_kind(tensor)}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{source}: {name} claims shape {tuple(tensor.shape)} but has fewer numbers stored")


def without_wrappers(tensors: Mapping[str, torch.Tensor], source: object) -> StateDict:
    """Removes from the names what ``torch.compile`` and ``DataParallel`` put into them.

    Raises:
        ValueError: two names become equal.
    """
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
    while plain and all(name.startswith("module.") for name in plain):
        plain = {name.removeprefix("module."): tensor for name, tensor in plain.items()}
    if len(plain) != len(tensors):
        raise ValueError(f"{source} holds tensors twice, with and without '_orig_mod.' in their names")
    return plain


def _require_known_start(path: Path) -> None:
    """PyTorch's files are archives or, from before version 1.6, pickles."""
    with path.open("rb") as file:
        start = file.read(4)
    if start and not start.startswith((_ZIP, b"\x80")):
        raise ValueError(
            f"{path} is no readable PyTorch file of plain tensors: it begins neither as safetensors nor as PyTorch's do"
        )


def _require_honest_archive(path: Path) -> None:
    """PyTorch stores archives uncompressed: one that unpacks to more than its own size is an attack."""
    with path.open("rb") as file:
        if file.read(4) != _ZIP:
            return
    with zipfile.ZipFile(path) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
    if claimed > path.stat().st_size:
        raise ValueError(f"its entries claim {claimed} bytes, the file has {path.stat().st_size}")


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_meta:
        return "one without data"
    return "a quantized one" if tensor.is_quantized else f"layout {tensor.layout}"


def _reason(error: Exception) -> str:
    """Why the unpickler stopped, without torch's advice to run the file's code after all."""
    forbidden = re.search(r"GLOBAL (\S+)", str(error))
    if forbidden is not None:
        return f"it would call {forbidden[1]}"
    return "it holds more than plain data" if "weights_only" in str(error) else _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
