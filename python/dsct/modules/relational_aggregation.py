"""Spatial-semantic relational aggregation in torch's own operators, for code that is traced (DSCT, Eq. 6-8).

The native form, with its explanation, is ``src/model/relational_aggregation.rs``; both compute the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

import dsct._dsct as _dsct
from dsct.config import DSCTConfig
from dsct.modules.block import pair

SpatialRelation = tuple[Tensor, Tensor | None]
"""Distances (B, N, M_c), and the spatial set (B, N, K_sp), None where the selection has none."""


def _native(config: DSCTConfig, reference_points: Tensor, valid_ratios: Tensor) -> SpatialRelation:
    return _dsct.spatial_relation(config.native, reference_points, valid_ratios)


@pair(native=_native)
def spatial_relation(config: DSCTConfig, reference_points: Tensor, valid_ratios: Tensor) -> SpatialRelation:
    """The part that depends only on reference points (B, Q, 2) and valid ratios (B or 1, L, 2) (Eq. 6)."""
    points = reference_points if config.spatial_frame == "valid" else reference_points * valid_ratios[:, :1]
    context, subject = points[:, : config.num_context_queries], points[:, config.num_context_queries :]
    distance = (subject[:, :, None] - context[:, None]).norm(dim=-1)
    return distance, first_k(distance, config.k_spatial) if "spatial" in config.selection else None


def first_k(score: Tensor, k: int, descending: bool = False) -> Tensor:
    """Indices (…, min(k, M_c)) of the smallest or largest, best first, equals by lower index."""
    return score.detach().sort(dim=-1, descending=descending, stable=True).indices[..., :k]


def aggregate(
    config: DSCTConfig, context: Tensor, subject: Tensor, spatial: SpatialRelation, learned: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Fuses into every subject the context that is related to it (Eq. 7, 8).

    Args:
        config: configuration.
        context: (B, M_c, E).
        subject: (B, N, E).
        spatial: of :func:`spatial_relation`.
        learned: (B, N, M_c), logits of the attentive re-weighting.

    Returns:
        Subjects (B, N, E), the semantic set (B, N, K_sm) and the weights (B, N, K) of all chosen queries.
    """
    distance, spatial_indices = spatial
    relevance = subject @ context.transpose(1, 2)
    highest = config.semantic_order == "highest"
    semantic_indices = first_k(relevance, config.k_semantic, highest) if "semantic" in config.selection else None
    sets = [chosen for chosen in (spatial_indices, semantic_indices) if chosen is not None]
    if not config.selection:
        sets.append(torch.arange(config.num_context_queries, device=context.device).expand(relevance.shape))
    if all(chosen.shape[-1] == 0 for chosen in sets):
        return subject, semantic_indices, None
    if config.aggregation == "union":
        sets = [torch.cat(sets, dim=-1)]
    scores = _scores(config, relevance, distance, learned)
    weights = [scores.gather(-1, chosen).softmax(dim=-1) for chosen in sets]
    matrix = torch.zeros_like(scores)
    for chosen, weight in zip(sets, weights, strict=True):
        matrix = matrix.scatter_add(-1, chosen, weight)
    fused = subject + matrix @ context
    if config.aggregation == "split":
        fused = fused + (subject @ subject.transpose(1, 2)).softmax(dim=-1) @ subject
    return fused, semantic_indices, torch.cat(weights, dim=-1)


def _scores(config: DSCTConfig, relevance: Tensor, distance: Tensor, learned: Tensor | None) -> Tensor:
    """(B, N, M_c): the scores in the softmax over a set."""
    if config.reweighting == "attentive" and learned is not None:
        return learned
    if config.reweighting == "equal":
        return torch.zeros_like(relevance)
    return (-distance).to(relevance.dtype) if config.reweighting == "spatial" else relevance
