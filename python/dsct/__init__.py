"""DSCT: every person in a photo and what each of them feels, in one pass.

The mathematics (model, deformable attention, matching, loss) is native code over libtorch; parameters, training and
data are ordinary PyTorch. ``dsct.info()`` says what runs where.
"""

from dsct._torch_guard import check_torch_version

check_torch_version()

from dsct import data, ops  # noqa: E402
from dsct._dsct import DsctError, __version__  # noqa: E402
from dsct.checkpoint import load_model, load_pretrained, save_model  # noqa: E402
from dsct.config import DSCTConfig  # noqa: E402
from dsct.criterion import HungarianMatcher, SetCriterion  # noqa: E402
from dsct.info import info  # noqa: E402
from dsct.modules import DSCT, DeformableEncoder, DSCTDecoder, MSDeformAttn  # noqa: E402
from dsct.people import People  # noqa: E402
from dsct.post_process import PostProcess  # noqa: E402
from dsct.predict import predict  # noqa: E402

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
    "load_model",
    "load_pretrained",
    "ops",
    "predict",
    "save_model",
]
