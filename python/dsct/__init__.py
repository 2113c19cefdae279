"""DSCT: every person in an image and the emotions each of them shows, in one pass.

The computation (model, deformable attention, matching, loss) is native code over libtorch; parameters, training and
data are ordinary PyTorch. ``dsct.info()`` says what runs where.
"""

from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

from dsct._import_guard import check_interpreter, check_torch_version

check_interpreter()
check_torch_version()

from dsct import ops
from dsct._dsct import DsctError, __version__
from dsct.checkpoint import load_model, load_pretrained, save_model
from dsct.config import DSCTConfig
from dsct.criterion import HungarianMatcher, SetCriterion
from dsct.modules import DSCT, DeformableEncoder, DSCTDecoder, MSDeformAttn
from dsct.post_process import PostProcess
from dsct.runtime import info, warmup

if TYPE_CHECKING:
    from dsct import data, demo as demo, export as export, interop, metrics as metrics, train as train, video
    from dsct import visualize as visualize
    from dsct.prediction.people import People
    from dsct.prediction.predictor import Predictor, predict, predict_stream

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
    "video",
    "warmup",
]

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
}
# Python refuses packages that import each other, as torchvision's do, while several threads import them.
_LOADING = RLock()


def __getattr__(name: str) -> Any:
    with _LOADING:
        if name in _MODULES:
            return import_module(f"dsct.{name}")
        if name in _NAMES:
            return globals().setdefault(name, getattr(import_module(_NAMES[name]), name))
    raise AttributeError(f"module 'dsct' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES})
