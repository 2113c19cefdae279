"""DSCT: every person in a photo and the emotions each of them shows, in one pass.

The mathematics (model, deformable attention, matching, loss) is native code over libtorch; parameters, training and
data are ordinary PyTorch. ``dsct.info()`` says what runs where.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsct._import_guard import check_interpreter, check_torch_version

check_interpreter()
check_torch_version()

from dsct._dsct import DsctError, __version__
from dsct.checkpoint import load_model, load_pretrained, save_model
from dsct.config import DSCTConfig
from dsct.criterion import HungarianMatcher, SetCriterion
from dsct.modules import DSCT, DeformableEncoder, DSCTDecoder, MSDeformAttn
from dsct.post_process import PostProcess
from dsct.prediction.people import People
from dsct.prediction.predictor import predict, predict_stream
from dsct.runtime import info, warmup
from dsct import data, interop, ops, video

if TYPE_CHECKING:
    from dsct import (
        annotate as annotate,
        cli as cli,
        demo as demo,
        export as export,
        metrics as metrics,
        people as people,
        shipped_weights as shipped_weights,
        train as train,
        visualize as visualize,
    )

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

# Loaded when first used: figures import matplotlib, metrics scikit-learn, exporters a compiler, the page a server.
_LOADED_ON_DEMAND = ("annotate", "cli", "demo", "export", "metrics", "people", "shipped_weights", "train", "visualize")


def __getattr__(name: str) -> Any:
    if name in _LOADED_ON_DEMAND:
        return import_module(f"dsct.{name}")
    raise AttributeError(f"module 'dsct' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_ON_DEMAND})
