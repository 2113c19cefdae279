"""Number formats in which a model runs; weights, losses and optimizer stay in float32."""

from __future__ import annotations

import contextlib
from typing import Any, Literal, get_args

import torch

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


def autocast(device: torch.device | str, precision: str) -> contextlib.AbstractContextManager[Any]:
    """The context in which a model runs in a precision; for float32 it does nothing.

    Args:
        device: where the model is.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Raises:
        ValueError: the precision is unknown.

    Example:
        >>> with autocast("cpu", "bfloat16"):
        ...     torch.nn.functional.linear(torch.ones(1, 2), torch.ones(3, 2)).dtype
        torch.bfloat16
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, precision))
