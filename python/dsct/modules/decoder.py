"""The DSCT decoder (paper, section 3.2): decoupled context and subject queries, fused by relational aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig, context_sets, require_config
from dsct.modules.block import Block, is_transformed, pair, recomputed
from dsct.modules.ms_deform_attn import Memory, MSDeformAttn, initialize_transformer
from dsct.modules.relational_aggregation import SpatialRelation, aggregate, spatial_relation
from dsct.ops import Shapes, check_level_start_index, level_shapes
from dsct.sound_values import require_values_for

Trace = dict[str, Tensor | None]
TRACE = ("sampling_locations", "attention_weights", "spatial_indices", "semantic_indices", "context_weights")


class DSCTDecoderLayer(Block):
    """Self-attention, deformable cross-attention, aggregation of context into subjects, feed-forward network.

    Args:
        config: configuration.
        index: number of this layer; with ``config.fusion_layers`` it decides whether the layer fuses.

    Example:
        >>> import dsct
        >>> DSCTDecoderLayer(dsct.DSCTConfig.tiny(), index=0).linear1.in_features
        64
    """

    def __init__(self, config: DSCTConfig, index: int) -> None:
        super().__init__()
        self.config, self.index = config, index
        width = config.hidden_dim
        self.cross_attn = MSDeformAttn(width, config.num_feature_levels, config.nheads, config.dec_n_points)
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, config.nheads, dropout=config.dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.dim_feedforward)
        self.linear2 = nn.Linear(config.dim_feedforward, width)
        self.norm3 = nn.LayerNorm(width)
        if config.reweighting == "attentive" and self.fuses:
            self.context_weights = nn.Linear(width, config.num_context_queries)
        initialize_transformer(self)

    @property
    def fuses(self) -> bool:
        """Whether context flows into subjects in this layer."""
        layers = self.config.fusion_layers
        return self.config.num_context_queries > 0 and (layers is None or self.index in layers)

    def forward(
        self,
        tgt: Tensor,
        query_pos: Tensor | None,
        reference_points: Tensor,
        src: Tensor,
        spatial_shapes: Shapes,
        padding_mask: Tensor | None,
        spatial: SpatialRelation,
        return_trace: bool = False,
    ) -> tuple[Tensor, Trace]:
        """One layer.

        Args:
            tgt: (B, Q, E), context rows first.
            query_pos: (B, Q, E).
            reference_points: (B, Q, L, 2), multiplied by the valid ratios.
            src: (B, S, E).
            spatial_shapes: L pairs (height, width).
            padding_mask: (B, S) bool, True = padding.
            spatial: distances (B, N, M_c) and spatial set (B, N, K_sp) of the reference points.
            return_trace: also compute where the layer sampled; it stores no sampling points by itself.

        Returns:
            (B, Q, E), and what was chosen and sampled; ``sampling_locations`` and ``attention_weights`` are None
            without ``return_trace``.
        """
        memory = Memory(src, spatial_shapes, padding_mask)
        return self._decode(tgt, query_pos, reference_points, memory, spatial, return_trace)

    def _native(
        self,
        tgt: Tensor,
        query_pos: Tensor | None,
        reference_points: Tensor,
        memory: Memory,
        spatial: SpatialRelation,
        return_trace: bool,
    ) -> tuple[Tensor, Trace]:
        own = (self.config.native, self.index, self.tensors(), self.training)
        return _dsct.decoder_layer(*own, tgt, query_pos, reference_points, memory, spatial, return_trace)

    @pair(native=_native)
    def _decode(
        self,
        tgt: Tensor,
        query_pos: Tensor | None,
        reference_points: Tensor,
        memory: Memory,
        spatial: SpatialRelation,
        return_trace: bool,
    ) -> tuple[Tensor, Trace]:
        attended = self._attend(tgt if query_pos is None else tgt + query_pos, tgt)
        tgt = self.norm2(tgt + self._dropout(attended))
        query = tgt if query_pos is None else tgt + query_pos
        attended = self.cross_attn.attend(query, reference_points, memory)
        tgt = self.norm1(tgt + self._dropout(attended))
        trace: Trace = dict.fromkeys(TRACE)
        if return_trace:
            sampled = self.cross_attn.sampling_points(query, reference_points, memory.spatial_shapes)
            trace["sampling_locations"], trace["attention_weights"] = sampled
        if self.fuses:
            context, subject = tgt.tensor_split([self.config.num_context_queries], dim=1)
            learned = self.context_weights(subject) if hasattr(self, "context_weights") else None
            subject, semantic_indices, weights = aggregate(self.config, context, subject, spatial, learned)
            tgt = torch.cat((context, subject), dim=1)
            trace.update(spatial_indices=spatial[1], semantic_indices=semantic_indices, context_weights=weights)
        hidden = self._dropout(self.linear1(tgt).relu())
        return self.norm3(tgt + self._dropout(self.linear2(hidden))), trace

    def _attend(self, query: Tensor, value: Tensor) -> Tensor:
        """Self-attention with ``query`` (B, Q, E) as query and key."""
        attention, p = self.self_attn, self.config.dropout if self.training else 0.0
        assert attention.in_proj_weight is not None
        assert attention.in_proj_bias is not None
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        heads: list[Tensor] = [
            torch.unflatten(nn.functional.linear(x, weight, bias), -1, (attention.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, query, value), weights, biases, strict=True)
        ]
        attend = _attend_by_parts if is_transformed() else nn.functional.scaled_dot_product_attention
        attended = attend(heads[0], heads[1], heads[2], dropout_p=p)
        return attention.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _dropout(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.config.dropout, self.training)


def _attend_by_parts(query: Tensor, key: Tensor, value: Tensor, dropout_p: float) -> Tensor:
    """Torch's ``scaled_dot_product_attention``, which on a CPU knows neither forward mode nor ``vmap``."""
    weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
    return nn.functional.dropout(weights, dropout_p) @ value


class DSCTDecoder(nn.Module):
    """``dec_layers`` DSCT layers; takes the call of Deformable DETR's ``DeformableTransformerDecoder``.

    The first ``config.num_context_queries`` rows of every query tensor are context, the others are subjects.

    Attributes:
        activation_checkpointing: as :class:`dsct.DeformableEncoder`'s.

    Example:
        >>> import dsct
        >>> decoder = dsct.DSCTDecoder(dsct.DSCTConfig.tiny())
        >>> len(decoder.layers) == decoder.config.dec_layers
        True
    """

    activation_checkpointing: bool = False

    def __init__(self, config: DSCTConfig) -> None:
        super().__init__()
        require_config(config, "DSCTDecoder")
        self.config = config
        self.layers = nn.ModuleList(DSCTDecoderLayer(config, index) for index in range(config.dec_layers))

    @classmethod
    def from_deformable_detr(
        cls, decoder: nn.Module, *, num_context_queries: int = 300, num_subject_queries: int = 0, **config: Any
    ) -> DSCTDecoder:
        """A decoder with the weights of Deformable DETR's ``DeformableTransformerDecoder``, to replace it.

        Without subject queries, or with ``fusion_layers=()``, it computes the same as the original.

        Args:
            decoder: has ``layers`` with the original code's parameter names, and no iterative refinement; it is not
                changed.
            num_context_queries: number of the first rows of the queries that are context: all queries of the detector.
            num_subject_queries: N, for the sets of the fusion; the call decides by its rows.
            **config: further fields of :class:`dsct.DSCTConfig`, such as ``fusion_layers``.

        Returns:
            The decoder, on the device and in the dtype and mode of `decoder`.

        Raises:
            ValueError: `decoder` is not such a decoder, it refines boxes layer by layer, or one of its weights holds
                NaN, infinity or numbers that the others' dtype cannot hold.

        Example:
            >>> import dsct
            >>> original = dsct.DSCTDecoder(dsct.DSCTConfig.tiny())  # has the names of the original
            >>> dsct.DSCTDecoder.from_deformable_detr(original, num_context_queries=9, k_spatial=3, k_semantic=3)
            ...     # doctest: +ELLIPSIS
            DSCTDecoder(...
        """
        layers: Any = getattr(decoder, "layers", None)
        first: Any = layers[0] if layers else None
        if not all(hasattr(first, part) for part in ("cross_attn", "self_attn", "linear1", "norm3")):
            raise ValueError(
                "from_deformable_detr: decoder must be a DeformableTransformerDecoder with layers of cross_attn, "
                f"self_attn, linear1 and norm3, got {type(decoder).__name__}"
            )
        if getattr(decoder, "bbox_embed", None) is not None:
            raise ValueError("from_deformable_detr: decoder must not refine boxes, which DSCT does not, got bbox_embed")
        attention, dropout = first.cross_attn, first.self_attn.dropout
        own = {
            "hidden_dim": attention.d_model, "nheads": attention.n_heads, "num_feature_levels": attention.n_levels,
            "dec_n_points": attention.n_points, "dec_layers": len(layers), "dropout": dropout,
            "dim_feedforward": first.linear1.out_features, "num_context_queries": num_context_queries,
            "num_subject_queries": num_subject_queries,
        }  # fmt: skip
        built = cls(DSCTConfig(**{**own, **context_sets(num_context_queries), **config}))
        parameter = first.linear1.weight
        built = built.to(parameter.device, parameter.dtype).train(decoder.training)
        wanted, theirs = built.state_dict(keep_vars=True), decoder.state_dict()
        fitting = {name: tensor for name, tensor in theirs.items() if name in wanted}
        require_values_for(wanted, fitting, "from_deformable_detr: decoder")
        missing = built.load_state_dict(theirs, strict=False).missing_keys
        if any("context_weights" not in name for name in missing):
            raise ValueError(f"from_deformable_detr: decoder lacks the parameters {missing}")
        return built

    def forward(
        self,
        tgt: Tensor,
        reference_points: Tensor,
        src: Tensor,
        src_spatial_shapes: Tensor | Sequence[Sequence[int]],
        src_level_start_index: Tensor | Sequence[int] | None,
        src_valid_ratios: Tensor,
        query_pos: Tensor | None = None,
        src_padding_mask: Tensor | None = None,
        *,
        return_trace: bool = False,
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, list[Trace]]:
        """Decodes the queries.

        Args:
            tgt: (B, Q, E), content half of the queries.
            reference_points: (B, Q, 2) in [0, 1] of the unpadded image.
            src: (B, S, E), the encoder's output.
            src_spatial_shapes: (L, 2) as (height, width).
            src_level_start_index: (L,), checked against ``src_spatial_shapes``.
            src_valid_ratios: (B or 1, L, 2) as (width, height).
            query_pos: (B, Q, E), position half of the queries.
            src_padding_mask: (B, S) bool, True = padding.
            return_trace: also return what each layer sampled and chose.

        Returns:
            The queries after each layer (dec_layers, B, Q, E), their reference points (dec_layers, B, Q, 2), and with
            ``return_trace`` one dict per layer.

        Raises:
            ValueError: shapes do not fit; the message names the argument.
        """
        shapes = level_shapes(src_spatial_shapes, "DSCTDecoder")
        check_level_start_index(src_level_start_index, shapes, "DSCTDecoder")
        if tgt.dim() != 3 or tgt.shape[1] < self.config.num_context_queries:
            raise ValueError(
                f"DSCTDecoder: tgt must be (B, Q, E) with at least {self.config.num_context_queries} context rows, "
                f"got {tuple(tgt.shape)}"
            )
        if reference_points.shape != (*tgt.shape[:2], 2):
            raise ValueError(
                f"DSCTDecoder: reference_points must be (B, Q, 2) = {(*tgt.shape[:2], 2)}, "
                f"got {tuple(reference_points.shape)}"
            )
        spatial = spatial_relation(self.config, reference_points, src_valid_ratios)
        scaled = reference_points[:, :, None] * src_valid_ratios[:, None]
        hidden, traces = [], []
        for layer in self.layers:
            arguments = (tgt, query_pos, scaled, src, shapes, src_padding_mask, spatial, return_trace)
            tgt, trace = recomputed(layer, *arguments) if self.activation_checkpointing else layer(*arguments)
            hidden.append(tgt)
            traces.append({"reference_points": reference_points, **trace})
        points = reference_points.expand(len(self.layers), *reference_points.shape)
        return (torch.stack(hidden), points, traces) if return_trace else (torch.stack(hidden), points)
