"""Spatial-semantic relational aggregation of context queries into subject queries (paper, section 3.2, Eq. 6-8).

With E_S the subjects (N rows), E_C the context (M_c rows) and p their reference points::

    d[n, m] = || p_S[n] - p_C[m] ||                                (6)
    r[n, m] = < E_S[n], E_C[m] >                                   (7)
    spatial set of n:  the K_sp context queries of smallest d
    semantic set of n: the K_sm context queries of smallest r ("lowest") or of largest r ("highest")

    union:  w = softmax of r over both sets together, a query chosen by both counted twice
            E_S[n] + sum over k of w_k E_C[k]                      (8)
    split:  w = softmax of r over each set by itself
            E_S[n] + sum over the spatial set + sum over the semantic set + (softmax(E_S E_S^T) E_S)[n]

Among equals the lower index is chosen. The choice carries no gradient; weights and embeddings do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dsct.config import DSCTConfig

Trace = dict[str, Tensor | None]


def spatial_distance(subject_points: Tensor, context_points: Tensor) -> Tensor:
    """Euclidean distances (B, N, M_c) of points (B, N, 2) and (B, M_c, 2); the gradient at distance 0 is 0 (Eq. 6)."""
    distance: Tensor = torch.linalg.vector_norm(subject_points[:, :, None] - context_points[:, None], dim=-1)
    return distance


def first_k(score: Tensor, k: int, descending: bool = False) -> Tensor:
    """Indices (..., min(k, M_c)) of the k smallest (or largest) of ``score`` (..., M_c), best first, stable."""
    return score.detach().sort(dim=-1, descending=descending, stable=True).indices[..., :k]


def relational_aggregation(
    subject: Tensor, context: Tensor, distance: Tensor, cfg: DSCTConfig, context_logits: Tensor | None = None
) -> tuple[Tensor, Trace]:
    """Fuse into every subject the context queries that are related to it.

    Args:
        subject: (B, N, E), E_S.
        context: (B, M_c, E), E_C.
        distance: (B, N, M_c), d in the frame named by ``cfg.spatial_frame``.
        cfg: ``selection``, ``k_spatial``, ``k_semantic``, ``semantic_order``, ``aggregation``, ``reweighting``.
        context_logits: (B, N, M_c), only for ``reweighting="attentive"``.

    Returns:
        The fused subjects (B, N, E), and what was chosen: ``spatial_indices`` (B, N, K_sp), ``semantic_indices``
        (B, N, K_sm), ``context_weights`` (B, N, K) in the order spatial, semantic (or all M_c); None where absent.
    """
    trace: Trace = {"spatial_indices": None, "semantic_indices": None, "context_weights": None}
    relevance = subject @ context.transpose(1, 2)
    if "spatial" in cfg.selection:
        trace["spatial_indices"] = first_k(distance, cfg.k_spatial)
    if "semantic" in cfg.selection:
        trace["semantic_indices"] = first_k(relevance, cfg.k_semantic, descending=cfg.semantic_order == "highest")
    sets = [indices for indices in (trace["spatial_indices"], trace["semantic_indices"]) if indices is not None]
    if not cfg.selection:
        sets = [torch.arange(context.shape[1], device=context.device).expand_as(relevance)]
    if sum(indices.shape[-1] for indices in sets) == 0:  # no context queries, or K = 0: nothing to fuse
        return subject, trace
    if cfg.aggregation == "union":
        sets = [torch.cat(sets, dim=-1)]

    scores = reweighting_scores(relevance, distance, cfg.reweighting, context_logits)
    weights = [scores.gather(-1, indices).softmax(dim=-1) for indices in sets]
    trace["context_weights"] = torch.cat(weights, dim=-1)

    fused = subject
    batch_index = torch.arange(context.shape[0], device=context.device)[:, None, None]
    for indices, weight in zip(sets, weights, strict=True):
        fused = fused + (weight[..., None] * context[batch_index, indices]).sum(dim=2)
    if cfg.aggregation == "split":
        fused = fused + (subject @ subject.transpose(1, 2)).softmax(dim=-1) @ subject
    return fused, trace


def reweighting_scores(relevance: Tensor, distance: Tensor, reweighting: str, context_logits: Tensor | None) -> Tensor:
    """The numbers (B, N, M_c) whose softmax over a set are its weights (paper, Table 7).

    ``semantic`` r, ``equal`` a constant (so 1 / K each), ``spatial`` -d, ``attentive`` a linear layer of the subject.

    Raises:
        ValueError: ``reweighting`` is none of these, or ``attentive`` comes without its logits.
    """
    if reweighting == "semantic":
        return relevance
    if reweighting == "equal":
        return torch.zeros_like(relevance)
    if reweighting == "spatial":
        return -distance
    if reweighting == "attentive" and context_logits is not None:
        return context_logits
    raise ValueError(f"reweighting: expected semantic, equal, spatial or attentive with its logits, got {reweighting}")
