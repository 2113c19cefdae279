"""From an image, a folder or a video to people."""

from importlib import import_module
from types import ModuleType

# Loaded when first used: each needs torchvision or more.
_MODULES = {
    *("annotate", "batches", "look", "model_input", "model_summary", "options", "people", "person_colors", "predictor"),
    *("shipped_weights", "video"),
}


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
