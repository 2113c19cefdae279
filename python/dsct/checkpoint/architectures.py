"""Which detector of the DETR family a state dict belongs to, by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

DEFORMABLE_DETR = "Deformable DETR"

_BOXES = r"(^|\.)(refpoint_embed|anchor_box_embed|query_refpoint_embeddings|ref_anchor_head)\."
_LEVELS = r"(^|\.)level_embeds?$"
_LABELS = r"(^|\.)(label_enc|label_encoder|label_embedding)\."
_QUERIES = r"(^|\.)(query_embed|query_embedding|query_position_embeddings)\."
_PROPOSALS = r"(^|\.)pos_trans(_fc)?\."

#: Detectors, the most specific first, each with what all must occur among the names, also those of detrex, mmdetection
#: and Hugging Face. The first match is the key that decides.
_ARCHITECTURES = (
    ("Grounding DINO", (r"(^|\.)(bert|language_model|text_backbone)\.", _LEVELS)),
    ("DETA", (r"(^|\.)pix_trans\.",)),
    ("DINO", (r"(^|\.)enc_out_class_embed\.",)),
    ("DINO", (r"(^|\.)dn_query_generator\.",)),
    ("DINO", (r"(^|\.)enc_output\.", _LABELS)),
    ("DN-Deformable-DETR", (_LABELS, _LEVELS)),
    ("DAB-Deformable-DETR", (_BOXES, _LEVELS)),
    ("LW-DETR", (r"(^|\.)query_feat\.", _BOXES)),
    ("DN-DETR", (_LABELS, _BOXES)),
    ("DAB-DETR", (_BOXES,)),
    ("H-DETR", (_PROPOSALS, _QUERIES)),
    ("two-stage Deformable DETR", (_PROPOSALS,)),
    ("Anchor DETR", (r"(^|\.)adapt_pos1d\.",)),
    ("Conditional DETR", (r"(^|[._])(ca_q|q|q_|query_)content_proj\.",)),
    ("DETR", (r"\.decoder\.layers\.\d+\.multihead_attn\.",)),
    ("DETR", (r"(^|\.)decoder\.layers\.\d+\.(attentions\.1|cross_attn)\.attn\.",)),
    ("DETR", (r"(^|\.)decoder\.layers\.\d+\.encoder_attn\.q_proj\.",)),
    (DEFORMABLE_DETR, (_LEVELS,)),
)
#: What a Deformable DETR may have inside its transformer, under the original names.
_DEFORMABLE_PARTS = re.compile(
    r"transformer\.(level_embed|reference_points\.|encoder\.layers\.\d+\.|decoder\.(layers\.\d+|class_embed|bbox_embed)\.)"
)


class Architecture(NamedTuple):
    """A detector, and the name of the tensor that tells it from the others."""

    name: str
    key: str


def architecture_of(names: Iterable[str]) -> Architecture | None:
    """The detector that tensors of these names belong to, or None.

    Example:
        >>> architecture_of(["transformer.level_embed", "transformer.enc_out_class_embed.weight"])
        Architecture(name='DINO', key='transformer.enc_out_class_embed.weight')
    """
    names = list(names)
    for name, patterns in _ARCHITECTURES:
        found = [next((one for one in names if re.search(pattern, one)), None) for pattern in patterns]
        if found[0] is not None and all(found):
            return Architecture(name, found[0])
    return None


def foreign_part(names: Iterable[str]) -> str | None:
    """The first of the original names that no Deformable DETR has: then it is a relative of one, or contains one.

    Example:
        >>> foreign_part(["transformer.level_embed", "transformer.mask_head.weight"])
        'transformer.mask_head.weight'
    """
    inner = (name for name in names if re.search(_LEVELS, name) and name != "transformer.level_embed")
    inside = (name for name in names if name.startswith("transformer.") and not _DEFORMABLE_PARTS.match(name))
    return next(inner, None) or next(inside, None)
