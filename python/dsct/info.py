"""What is installed and which kernels run where."""

from __future__ import annotations

import platform

import torch
import torchvision

from dsct import _dsct
from dsct.warmup import kernels_are_off

_REGISTERED = {
    "CPU": f"native kernel (Rust, {_dsct.cpu_instruction_set()})",
    "Meta": "shapes only (FakeTensor, export, compile)",
}


def info() -> dict[str, str]:
    """Versions, and how ``ms_deform_attn`` would run on each kind of device.

    Returns:
        Ordered text by name; ``dsct info`` prints it.

    Example:
        >>> import dsct
        >>> dsct.info()["ms_deform_attn on CPU"].startswith("native kernel (Rust, ")
        True
    """
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
