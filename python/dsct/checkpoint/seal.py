"""The bytes of a native weights file: equal weights give equal bytes, and a bit that changed later is noticed."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from dsct.json_text import parse_json_object

#: Digest of everything else in the file, see :func:`file_digest`.
WEIGHTS_KEY = "dsct_weights_sha256"

# A safetensors file: length of the header (8 bytes, little endian), header (JSON), values.
_LENGTH = 8


def sealed(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file with the digest of its tensors in the metadata.

    Args:
        tensors: dense, by name.
        metadata: texts by key.

    Returns:
        The same bytes for the same arguments in every process; safetensors itself mixes the order of metadata.

    Example:
        >>> tensors = {"weight": torch.zeros(2)}
        >>> sealed(tensors, {"a": "1", "b": "2"}) == sealed(tensors, {"b": "2", "a": "1"})
        True
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = memoryview(safetensors.torch.save(plain))
    header, values = _parts(content, "safetensors.torch.save")
    metadata = {**metadata, WEIGHTS_KEY: file_digest({"__metadata__": metadata, **header}, values)}
    header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # values begin at a multiple of 8, as safetensors has it
    return len(text).to_bytes(_LENGTH, "little") + text + values


def file_digest(header: Mapping[str, Any], values: memoryview) -> str:
    """SHA-256 of metadata and tensors as safetensors stores them, independent of their order in the file.

    Args:
        header: ``__metadata__``, and name -> ``dtype``, ``shape`` and ``data_offsets``.
        values: the bytes after the header.
    """
    digest = hashlib.sha256()
    for key, text in sorted(header["__metadata__"].items()):
        if key != WEIGHTS_KEY:
            digest.update(f"{key}\0{text}\0".encode())
    for name in sorted(header.keys() - {"__metadata__"}):
        entry = header[name]
        begin, end = entry["data_offsets"]
        digest.update("\0".join((name, entry["dtype"], ",".join(map(str, entry["shape"])), "")).encode())
        digest.update(values[begin:end])
    return digest.hexdigest()


def require_sealed(path: Path, metadata: Mapping[str, str]) -> None:
    """Compares the digest in a readable safetensors file, if it has one, with its content.

    Raises:
        ValueError: the content is another than the one that was written.
    """
    if WEIGHTS_KEY not in metadata:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        header, values = _parts(view, path)
        with values:
            digest = file_digest(header, values)
    if digest != metadata[WEIGHTS_KEY]:
        raise ValueError(f"{path} is damaged or was changed: its content does not have the digest stored with it")


def _parts(content: memoryview, source: object) -> tuple[dict[str, Any], memoryview]:
    length = int.from_bytes(content[:_LENGTH], "little")
    header = parse_json_object(bytes(content[_LENGTH : _LENGTH + length]), f"{source}: header")
    return header, content[_LENGTH + length :]
