"""DSCT: every person in a photo and the emotions each of them shows, in one pass.

The mathematics (model, deformable attention, matching, loss) is native code over libtorch; parameters, training and
data are ordinary PyTorch. ``dsct.info()`` says what runs where.
"""

from typing import TYPE_CHECKING, Any

from dsct._import_guard import check_interpreter, check_torch_version

check_interpreter()
check_torch_version()

from dsct import data, ops
from dsct._dsct import DsctError, __version__
from dsct.checkpoint import load_model, load_pretrained, save_model
from dsct.config import DSCTConfig
from dsct.criterion import HungarianMatcher, SetCriterion
from dsct.info import info
from dsct.modules import DSCT, DeformableEncoder, DSCTDecoder, MSDeformAttn
from dsct.people import People
from dsct.post_process import PostProcess
from dsct.predict import predict, predict_stream
from dsct.warmup import warmup
from dsct import interop, video

if TYPE_CHECKING:
    from dsct import export as export, visualize as visualize

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


def __getattr__(name: str) -> Any:
    # Figures import matplotlib, exporters a compiler: only where somebody wants them.
    if name in ("export", "visualize"):
        from importlib import import_module

        return import_module(f"dsct.{name}")
    raise AttributeError(f"module 'dsct' has no attribute {name!r}")
