"""The device on which a command computes."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from dsct.runtime import usable_device

DeviceOption = Annotated[str, typer.Option(help="Such as cpu or cuda; auto uses a GPU if there is one.")]


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the GPU if there is one.

    Raises:
        ValueError: torch does not know the device, or it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return usable_device(name, "--device")
