"""What runs where, and the CUDA kernels compiled before the first call needs them."""

from __future__ import annotations

import os
import platform

import torch

import dsct._dsct as _dsct

# Every dtype that there are kernels for, with its code.
DTYPES: dict[torch.dtype, int] = {getattr(torch, name): code for name, code in _dsct.dtype_codes().items()}

_REGISTERED = {
    "CPU": f"native kernel (Rust, {_dsct.cpu_instruction_set()})",
    "Meta": "shapes only (FakeTensor, export, compile)",
}


def _compute_with_one_thread() -> None:
    """Threads do not survive a fork, but OpenMP, and torch with it, waits for those of the parent for ever.

    With one thread it has none to wait for: the loading processes of torch's ``DataLoader`` begin in the same way.
    """
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_compute_with_one_thread)


def info() -> dict[str, str]:
    """Versions, and how ``ms_deform_attn`` would run on each kind of device.

    Returns:
        Ordered text by name; ``dsct info`` prints it.

    Example:
        >>> import dsct
        >>> dsct.info()["ms_deform_attn on CPU"].startswith("native kernel (Rust, ")
        True
    """
    import torchvision  # takes as long to import as torch

    found = {
        "dsct": _dsct.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none found by torch",
    }
    for key, kernel in _REGISTERED.items():
        registered = torch._C._dispatch_has_computed_kernel_for_dispatch_key("dsct::ms_deform_attn", key)
        found[f"ms_deform_attn on {key}"] = kernel if registered else "missing"
    return found | _cuda_kernels()


def _cuda_kernels() -> dict[str, str]:
    """What the CUDA kernels need, and what a call would therefore do."""
    status = _dsct.cuda_status()
    rows = {
        "CUDA driver": status["driver"],
        "CUDA compiler (NVRTC)": status["nvrtc"],
        "compiled kernels": status["cache"],
    }
    found = {name: text if there else f"none: {text}" for name, (there, text) in rows.items()}
    missing = [name for name in ("driver", "nvrtc") if not status[name][0]]
    if kernels_are_off():
        kernel = "composite of torch operators, slow and memory-hungry: DSCT_CUDA_KERNELS=off"
    elif missing:
        kernel = f"an error: no {' and no '.join(missing)}"
    else:
        kernel = "native kernels, compiled for the GPU when first used" + _gpu_architecture()
    return {"ms_deform_attn on CUDA": kernel} | found


def _gpu_architecture() -> str:
    if not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability()
    return f" (compute capability {major}.{minor})"


def usable_device(device: torch.device | str, name: str) -> torch.device:
    """The device, if this machine can compute there.

    Args:
        device: such as ``"cuda:1"``.
        name: begins the message of an error.

    Raises:
        ValueError: torch does not know the device, or it is not there, or it only has shapes.

    Example:
        >>> usable_device("cpu", "device")
        device(type='cpu')
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} must be a device of this machine, got {str(device)!r}: {reason}") from error
    if found.type == "meta":
        raise ValueError(f"{name} must be a device that computes, got 'meta', which has no values")
    return found


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
    captured, or if the first call must be as fast as the others. By default for the sizes of DSCT and of
    Deformable DETR.

    Args:
        device: the GPU. On any other kind of device there is nothing to do.
        dtype: the dtype of ``value``: under autocast the low-precision type, otherwise that of the model.
        heads: M.
        channels: D, per head.
        levels: L.
        points: P, per level.

    Returns:
        The number of modules of kernels that are loaded now; 0 if none is needed.

    Raises:
        TypeError: there are no kernels for this dtype.
        RuntimeError: torch finds no such GPU.
        DsctError: there are no kernels for these sizes, or the driver or NVRTC is missing or fails.

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
