"""DSCT: every person in an image and the emotions each of them shows, in one pass.

The computation (model, deformable attention, matching, loss) is native code over libtorch; parameters, training and
data are ordinary PyTorch. ``dsct.info()`` says what runs where.
"""

from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

from dsct._import_guard import check_interpreter, check_torch_version, is_command_line, load_extension, refuse_extension

if TYPE_CHECKING:
    from dsct import data, demo as demo, export as export, interop, metrics as metrics, ops, train as train, video
    from dsct import visualize as visualize
    from dsct._dsct import DsctError, __version__
    from dsct.checkpoint import load_model, load_pretrained, save_model
    from dsct.config import DSCTConfig
    from dsct.criterion import HungarianMatcher, SetCriterion
    from dsct.modules import DSCT, DeformableEncoder, DSCTDecoder, MSDeformAttn
    from dsct.post_process import PostProcess
    from dsct.prediction.model_summary import summary
    from dsct.prediction.people import People
    from dsct.prediction.predictor import Predictor, predict, predict_stream
    from dsct.runtime import info, warmup

__all__ = [
    "DSCT",
    "DSCTConfig",
    "DSCTDecoder",
    "DeformableEncoder",
    "DsctError",
    "HungarianMatcher",
    "MSDeformAttn",
    "People",
    "PostProcess",
    "Predictor",
    "SetCriterion",
    "__version__",
    "data",
    "info",
    "interop",
    "load_model",
    "load_pretrained",
    "ops",
    "predict",
    "predict_stream",
    "save_model",
    "summary",
    "video",
    "warmup",
]

# What ``import dsct`` loads, with torch and the native part.
_LOADED = {
    "dsct._dsct": ("DsctError", "__version__"),
    "dsct.ops": (),
    "dsct.checkpoint": ("load_model", "load_pretrained", "save_model"),
    "dsct.config": ("DSCTConfig",),
    "dsct.criterion": ("HungarianMatcher", "SetCriterion"),
    "dsct.modules": ("DSCT", "DSCTDecoder", "DeformableEncoder", "MSDeformAttn"),
    "dsct.post_process": ("PostProcess",),
    "dsct.runtime": ("info", "warmup"),
}
# Loaded when first used: torchvision and matplotlib take as long to import as torch, an exporter brings a compiler.
_MODULES = {
    *("annotate", "cli", "data", "demo", "export", "interop", "metrics", "predict", "prediction", "shipped_weights"),
    *("train", "video", "visualize"),
}
_NAMES = {
    "People": "dsct.prediction.people",
    "Predictor": "dsct.prediction.predictor",
    "people": "dsct.prediction",
    "predict_stream": "dsct.prediction.predictor",
    "summary": "dsct.prediction.model_summary",
}
# Python refuses packages that import each other, as torchvision's do, while several threads import them.
_LOADING = RLock()


def load_all() -> None:
    """Loads what ``import dsct`` loads; the command line does so only for a command that runs.

    Under a torch that the extension was not built for, that is the operators; the names of all else raise the error.

    Raises:
        ImportError: the interpreter is not one that this package was built for; or torch is not, and there are no
            kernels without it.
    """
    check_interpreter()
    try:
        check_torch_version()
        load_extension()
    except ImportError as error:
        refuse_extension(error)
        import_module("dsct.ops")
        return
    for module, names in _LOADED.items():
        found = import_module(module)
        globals().update({name: getattr(found, name) for name in names})


def __getattr__(name: str) -> Any:
    with _LOADING:
        if name in _MODULES:
            return import_module(f"dsct.{name}")
        if name in _NAMES:
            return globals().setdefault(name, getattr(import_module(_NAMES[name]), name))
        for module, names in _LOADED.items():
            if name in names:  # not loaded, so that this says why
                return getattr(import_module(module), name)
    raise AttributeError(f"module 'dsct' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES})


if not is_command_line():
    load_all()
