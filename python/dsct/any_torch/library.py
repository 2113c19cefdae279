"""The library of kernels, by its C interface (``cuda/registration/deform_attn.h``). It is linked to no torch."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_double, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

#: Built by `cargo build --no-default-features`, see `build_kernels.py`.
#: Not called .so, as Python would take it for a module.
PATH = Path(__file__).with_name("_kernels.library")


class Shape(ctypes.Structure):
    """``DsctDeformAttnShape``."""

    _fields_ = [(name, c_int64) for name in "bsmdqlp"] + [("spatial_shapes", POINTER(c_int64))]


class Inputs(ctypes.Structure):
    """``DsctDeformAttnInputs``."""

    _fields_ = [
        *((name, c_int32) for name in ("dtype", "points_dtype", "reference_size")),
        *((name, c_void_p) for name in ("value", "reference", "points", "weights")),
    ]


class Gradients(ctypes.Structure):
    """``DsctDeformAttnGradients``."""

    _fields_ = [(name, c_void_p) for name in ("value", "points", "weights")]


_CALL = (POINTER(Shape), POINTER(Inputs))
_FUNCTIONS = {
    "dsct_deform_attn_cpu_forward": (*_CALL, c_void_p, c_int32),
    "dsct_deform_attn_cpu_backward": (*_CALL, c_void_p, POINTER(Gradients), c_int32),
    "dsct_deform_attn_cuda_supports": _CALL,
    "dsct_deform_attn_cuda_forward": (*_CALL, c_void_p, c_int32, c_void_p),
    "dsct_deform_attn_cuda_backward": (
        *_CALL, c_void_p, POINTER(Gradients), c_void_p, c_void_p, c_int32, c_void_p,
    ),
    "dsct_dropout_cpu": (c_int32, c_int64, c_double, c_int64, c_bool, c_void_p, c_void_p, c_int32),
}  # fmt: skip


def is_built() -> bool:
    """Whether there is a library of kernels to be loaded.

    Example:
        ``if is_built(): register()``
    """
    return PATH.exists()


@cache
def kernels() -> ctypes.CDLL:
    """The library, loaded once. Its functions run without the GIL, on torch's threads.

    Raises:
        ImportError: it was not built, or not for this system.
    """
    try:
        library = ctypes.CDLL(str(PATH))
    except OSError as error:
        raise ImportError(f"dsct: the kernels of the operators cannot be loaded: {error}") from error
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int32
    library.dsct_last_error.restype = c_char_p
    # Of torch's stable C ABI. Threads of the library's own would share the cores with torch's, which wait busily.
    loop = getattr(ctypes.CDLL(torch._C.__file__), "torch_parallel_for", None)
    if loop is not None:
        library.dsct_use_parallel_for(ctypes.cast(loop, c_void_p))
    return library


def check(op: str, status: int, advice: str = "") -> None:
    """Raises what a function of the library has to say.

    Raises:
        RuntimeError: `status` is not that of success.
    """
    if status:
        raise RuntimeError(f"{op}: {kernels().dsct_last_error().decode()}{advice}")
