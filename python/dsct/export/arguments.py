"""What can be wrong with a call, found before the export, which takes minutes."""

from __future__ import annotations

import os
from itertools import chain

import torch
from torch import Tensor

from dsct.complete_files import require_writable
from dsct.modules import DSCT

LARGEST = 2**16  # images of a batch, and pixels of a side

Size = tuple[int, int, int]
"""Number of images, height and width."""


def require_model(model: object, function: str, **switches: object) -> None:
    """Raises a TypeError for anything but a :class:`dsct.DSCT` and for `switches` that are no bool.

    A model without memory, on the device ``meta``, is a ValueError.
    """
    if not isinstance(model, DSCT):
        raise TypeError(f"{function}: model must be a dsct.DSCT, got {type(model).__name__}")
    for name, switch in switches.items():
        if not isinstance(switch, bool):
            raise TypeError(f"{function}: {name} must be True or False, got {switch!r}")
    if any(tensor.is_meta for tensor in chain(model.parameters(), model.buffers())):
        raise ValueError(f"{function}: model must have weights, its parameters are on the device meta, which has none")


def require_destination(path: object, ending: str, function: str) -> None:
    """Checks that `path` ends in `ending` and can be written to.

    Raises:
        TypeError: it is no path.
        ValueError: it ends in something else.
        OSError: nothing can be written there.
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{function}: path must be a string or os.PathLike, got {type(path).__name__}")
    if not os.fspath(path).endswith(ending):
        raise ValueError(f"{function}: path must end in {ending}, got {os.fspath(path)}")
    require_writable(path)


def checked_size(size: object) -> Size:
    """Three whole numbers that images can have.

    Raises:
        ValueError: they are not.
    """
    # Not isinstance(…, int) alone, which takes True.
    if (
        not isinstance(size, (tuple, list))
        or len(size) != 3
        or not all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError(f"export: size must be three positive integers, (batch, height, width), got {size!r}")
    if max(size) > LARGEST:
        raise ValueError(f"export: size must be at most {LARGEST:,} in each number, got {'x'.join(map(str, size))}")
    return size[0], size[1], size[2]


def example_images(size: Size, like: Tensor) -> Tensor:
    """Images (B, 3, H, W) to record the model with.

    Raises:
        ValueError: there is no memory for them.
    """
    try:
        return torch.zeros(size[0], 3, *size[1:], dtype=like.dtype, device=like.device)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        needed = 3 * like.element_size() * size[0] * size[1] * size[2] / 2**30
        raise ValueError(
            f"export: size must be one that fits into memory, {'x'.join(map(str, size))} needs {needed:,.0f} GiB"
        ) from error
