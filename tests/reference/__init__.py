"""The whole DSCT in plain PyTorch: slow, obvious, in any floating dtype, written from the equations.

The fast implementation is judged by this package, so every block is here in the form in which one would write it on
paper, and none of it calls the package under test. Parameter names are those of the published checkpoints: a state
dict of the fast model loads here with ``strict=True`` and the other way round.

Shape letters: B batch, Q queries (context first, then subjects), N subject queries, M_c context queries, M heads,
D channels per head, E = M * D, L feature levels, P sampling points, S = sum of H_l * W_l, C emotion classes,
K members of a set of context queries. Points are (x, y), sizes of maps (H, W), boxes (centre x, centre y, width,
height) in [0, 1]; a mask is True where the image is padding.
"""

from .criterion import HungarianMatcher, SetCriterion
from .decoder import DSCTDecoder
from .deform_attn import MSDeformAttn, ms_deform_attn, ms_deform_attn_gather
from .dsct import DSCT
from .encoder import DeformableEncoder

__all__ = [
    "DSCT",
    "DSCTDecoder",
    "DeformableEncoder",
    "HungarianMatcher",
    "MSDeformAttn",
    "SetCriterion",
    "ms_deform_attn",
    "ms_deform_attn_gather",
]
