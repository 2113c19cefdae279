"""What is installed and which kernels run where."""

from __future__ import annotations

import platform

import torch
import torchvision

from dsct import _dsct

_REGISTERED = {
    "CPU": "native kernel (Rust, rayon)",
    "CUDA": "composite of torch operators: correct, but slow and memory-hungry; no native kernel yet",
    "Meta": "shapes only (FakeTensor, export, compile)",
}


def info() -> dict[str, str]:
    """Versions, and how ``ms_deform_attn`` would run on each kind of device.

    Returns:
        Ordered text by name; ``dsct info`` prints it.

    Example:
        >>> import dsct
        >>> dsct.info()["ms_deform_attn on CPU"]
        'native kernel (Rust, rayon)'
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
    return found
