"""The CUDA kernels, compiled and loaded before the first call needs them."""

from __future__ import annotations

import os

import torch

from dsct import _dsct

# Codes of cuda/deform_attn.h.
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float64: 3}


def kernels_are_off() -> bool:
    """Whether the environment asks for torch's operators in place of the CUDA kernels."""
    return os.environ.get("DSCT_CUDA_KERNELS") == "off"


def warmup(
    device: torch.device | str | int = "cuda",
    dtype: torch.dtype = torch.float32,
    *,
    heads: int = 8,
    channels: int = 32,
    levels: int = 4,
    points: int = 4,
) -> int:
    """Compiles and loads the deformable attention kernels for a GPU.

    The first call of each kind does this by itself, in a fraction of a second. Call this before a CUDA graph is
    captured, or where the first call must be as fast as the others. By default for the sizes of DSCT and of
    Deformable DETR.

    Args:
        device: The GPU. On any other kind of device there is nothing to do.
        dtype: Of ``value``: under autocast the low type, otherwise that of the model.
        heads: M.
        channels: D, per head.
        levels: L.
        points: P, per level.

    Returns:
        How many modules of kernels are loaded now; 0 where none is needed.

    Raises:
        TypeError: There are no kernels for this dtype.
        RuntimeError: Torch finds no such GPU.
        DsctError: There are no kernels for these sizes; or the driver or NVRTC is missing or refuses.

    Example:
        >>> import dsct
        >>> dsct.warmup("cpu")
        0
    """
    if dtype not in DTYPES:
        raise TypeError(f"warmup: dtype must be one of {', '.join(map(str, DTYPES))}, got {dtype}")
    place = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if place.type != "cuda" or kernels_are_off():
        return 0
    if not torch.cuda.is_available():
        raise RuntimeError(f"warmup: device must be a GPU that torch can use, got '{place}', and torch finds none")
    current = torch.cuda.current_device()  # starts CUDA, or says why a forked process cannot
    index = current if place.index is None else place.index
    if index >= torch.cuda.device_count():
        raise RuntimeError(f"warmup: device must be one of {torch.cuda.device_count()} GPUs, got '{place}'")
    return sum(_dsct.cuda_warmup(index, DTYPES[dtype], (heads, channels, levels, points)))
