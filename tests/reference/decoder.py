"""DSCT decoder: decoupled queries attend to the image, then subjects take in context (paper, section 3.2, Fig. 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .deform_attn import MSDeformAttn, SpatialShapes
from .relational_aggregation import Trace, relational_aggregation, spatial_distance

if TYPE_CHECKING:
    from dsct.config import DSCTConfig


class DecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention, relational aggregation, feed-forward network.

    Every step but the aggregation ends in a residual and a norm; the norm of self-attention is ``norm2`` and that of
    cross-attention ``norm1``, as in the checkpoints.

    Args:
        cfg: configuration.
        fuses: whether context is aggregated into the subjects in this layer.
    """

    def __init__(self, cfg: DSCTConfig, fuses: bool) -> None:
        super().__init__()
        self.cfg = cfg
        self.fuses = fuses
        self.cross_attn = MSDeformAttn(cfg.hidden_dim, cfg.num_feature_levels, cfg.nheads, cfg.dec_n_points)
        self.norm1 = nn.LayerNorm(cfg.hidden_dim)
        self.self_attn = nn.MultiheadAttention(cfg.hidden_dim, cfg.nheads, dropout=cfg.dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(cfg.hidden_dim)
        self.linear1 = nn.Linear(cfg.hidden_dim, cfg.dim_feedforward)
        self.linear2 = nn.Linear(cfg.dim_feedforward, cfg.hidden_dim)
        self.norm3 = nn.LayerNorm(cfg.hidden_dim)
        self.dropout = nn.Dropout(cfg.dropout)
        if fuses and cfg.reweighting == "attentive":
            self.context_weights = nn.Linear(cfg.hidden_dim, cfg.num_context_queries)

    def forward(
        self,
        tgt: Tensor,
        query_pos: Tensor | None,
        reference_points: Tensor,
        distance: Tensor,
        src: Tensor,
        spatial_shapes: SpatialShapes,
        padding_mask: Tensor | None,
    ) -> tuple[Tensor, Trace]:
        """One layer; ``tgt`` and result (B, Q, E), ``reference_points`` (B, Q, L, 2), ``distance`` (B, N, M_c)."""
        positioned = tgt if query_pos is None else tgt + query_pos
        attended, _ = self.self_attn(positioned, positioned, tgt, need_weights=False)
        tgt = self.norm2(tgt + self.dropout(attended))

        positioned = tgt if query_pos is None else tgt + query_pos
        attended, locations, weights = self.cross_attn(positioned, reference_points, src, spatial_shapes, padding_mask)
        tgt = self.norm1(tgt + self.dropout(attended))

        trace: Trace = {"sampling_locations": locations, "attention_weights": weights}
        tgt, chosen = self.aggregate(tgt, distance)

        hidden = self.linear2(self.dropout(self.linear1(tgt).relu()))
        return self.norm3(tgt + self.dropout(hidden)), trace | chosen

    def aggregate(self, tgt: Tensor, distance: Tensor) -> tuple[Tensor, Trace]:
        """Replace the subject rows of ``tgt`` (B, Q, E) by their fusion with the context rows."""
        if not self.fuses:
            return tgt, {"spatial_indices": None, "semantic_indices": None, "context_weights": None}
        context, subject = tgt.tensor_split([self.cfg.num_context_queries], dim=1)
        logits = self.context_weights(subject) if self.cfg.reweighting == "attentive" else None
        fused, trace = relational_aggregation(subject, context, distance, self.cfg, logits)
        return torch.cat((context, fused), dim=1), trace


class DSCTDecoder(nn.Module):
    """``dec_layers`` decoder layers; the first ``num_context_queries`` queries are context, the others subjects."""

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        self.cfg = cfg
        fusing = range(cfg.dec_layers) if cfg.fusion_layers is None else cfg.fusion_layers
        self.layers = nn.ModuleList(
            DecoderLayer(cfg, fuses=i in fusing and cfg.num_context_queries > 0) for i in range(cfg.dec_layers)
        )

    def forward(
        self,
        tgt: Tensor,
        reference_points: Tensor,
        src: Tensor,
        src_spatial_shapes: SpatialShapes,
        src_valid_ratios: Tensor,
        query_pos: Tensor | None = None,
        src_padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[Trace]]:
        """Decode the queries.

        Args:
            tgt: (B, Q, E), content half of the queries.
            reference_points: (B, Q, 2) in [0, 1] of the unpadded image, the same for every layer.
            src: (B, S, E), the encoder's output.
            src_spatial_shapes: (H_l, W_l) of each level.
            src_valid_ratios: (B, L, 2) as (width, height).
            query_pos: (B, Q, E), position half of the queries.
            src_padding_mask: (B, S) bool, True = padding.

        Returns:
            The output of each layer, (dec_layers, B, Q, E), and one trace per layer.
        """
        # Eq. 6 in the frame of the image; the released code measures in the frame of the padded batch.
        frame = src_valid_ratios[:, None, 0] if self.cfg.spatial_frame == "padded" else 1.0
        points = reference_points * frame
        context_points, subject_points = points.tensor_split([self.cfg.num_context_queries], dim=1)
        distance = spatial_distance(subject_points, context_points)

        scaled = reference_points[:, :, None] * src_valid_ratios[:, None]
        outputs, traces = [], []
        for layer in self.layers:
            tgt, trace = layer(tgt, query_pos, scaled, distance, src, src_spatial_shapes, src_padding_mask)
            outputs.append(tgt)
            traces.append({"reference_points": reference_points} | trace)
        return torch.stack(outputs), traces
