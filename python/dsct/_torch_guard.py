"""One sentence instead of an undefined symbol, when the extension was built for another torch."""

from __future__ import annotations

import importlib.metadata
import re

import torch


def required_torch() -> str | None:
    """The torch version that this installation names, or None for a source tree that is not installed."""
    try:
        requirements = importlib.metadata.requires("dsct") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    pins = (re.fullmatch(r"torch\s*==\s*([\d.]+).*", requirement) for requirement in requirements)
    return next((pin.group(1) for pin in pins if pin), None)


def check_torch_version() -> None:
    """Compares the running torch with the one that the extension was built for.

    Raises:
        ImportError: They differ.
    """
    required, running = required_torch(), torch.__version__.split("+")[0]
    if required is not None and running != required:
        raise ImportError(
            f"this dsct was built for torch {required}, but torch {running} is installed: run "
            f"`pip install torch=={required}`, or install a dsct that was built for torch {running}."
        )
