"""The model's blocks as ``nn.Module``s, one file per block of the paper's Figure 3."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsct.modules.decoder import DSCTDecoder, DSCTDecoderLayer
    from dsct.modules.dsct import DSCT
    from dsct.modules.encoder import DeformableEncoder, DeformableEncoderLayer
    from dsct.modules.ms_deform_attn import MSDeformAttn

__all__ = ["DSCT", "DSCTDecoder", "DSCTDecoderLayer", "DeformableEncoder", "DeformableEncoderLayer", "MSDeformAttn"]

_FILES = {
    "DSCT": "dsct",
    "DSCTDecoder": "decoder",
    "DSCTDecoderLayer": "decoder",
    "DeformableEncoder": "encoder",
    "DeformableEncoderLayer": "encoder",
    "MSDeformAttn": "ms_deform_attn",
}


def __getattr__(name: str) -> Any:
    """Loaded when first used: the blocks need the extension, what else is in this folder works under any torch."""
    if name not in _FILES:
        raise AttributeError(f"module 'dsct.modules' has no attribute {name!r}")
    return getattr(import_module(f"dsct.modules.{_FILES[name]}"), name)
