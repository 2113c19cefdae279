"""The device on which a command computes."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

DeviceOption = Annotated[str, typer.Option(help="Such as cpu or cuda; auto uses a GPU if there is one.")]


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the GPU if there is one.

    Raises:
        ValueError: torch does not know the device, or it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device must be a device of this machine, got {name!r}: {error}") from error
    return device
