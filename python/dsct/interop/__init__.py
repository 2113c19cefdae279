"""Existing PyTorch models: faster attention inside them, or a DSCT with their weights."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsct.interop import attention, transformers

if TYPE_CHECKING:
    from dsct.interop import deformable_detr

__all__ = ["attention", "deformable_detr", "transformers"]


def __getattr__(name: str) -> Any:
    """Conversion needs the model, and with it the extension; the attention works under any torch."""
    if name == "deformable_detr":
        return import_module("dsct.interop.deformable_detr")
    raise AttributeError(f"module 'dsct.interop' has no attribute {name!r}")
