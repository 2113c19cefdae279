"""The model's blocks as ``nn.Module``s, one file per block of the paper's Figure 3."""

from dsct.modules.decoder import DSCTDecoder, DSCTDecoderLayer
from dsct.modules.dsct import DSCT
from dsct.modules.encoder import DeformableEncoder, DeformableEncoderLayer
from dsct.modules.ms_deform_attn import MSDeformAttn

__all__ = ["DSCT", "DSCTDecoder", "DSCTDecoderLayer", "DeformableEncoder", "DeformableEncoderLayer", "MSDeformAttn"]
