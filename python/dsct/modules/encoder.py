"""The deformable encoder (Deformable DETR, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig, require_config
from dsct.modules.block import Block, pair, recomputed
from dsct.modules.ms_deform_attn import Memory, MSDeformAttn, encoder_reference_points, initialize_transformer
from dsct.ops import Shapes, check_level_start_index, level_shapes


class DeformableEncoderLayer(Block):
    """Deformable self-attention over all cells of all levels, then a feed-forward network; post-norm.

    Example:
        >>> import torch, dsct
        >>> layer = DeformableEncoderLayer(dsct.DSCTConfig.tiny())
        >>> src, shapes = torch.randn(1, 22, 64), [(4, 4), (2, 2), (1, 1), (1, 1)]
        >>> layer(src, None, torch.rand(1, 22, 4, 2), shapes).shape
        torch.Size([1, 22, 64])
    """

    def __init__(self, config: DSCTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_dim
        self.self_attn = MSDeformAttn(width, config.num_feature_levels, config.nheads, config.enc_n_points)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.dim_feedforward)
        self.linear2 = nn.Linear(config.dim_feedforward, width)
        self.norm2 = nn.LayerNorm(width)
        initialize_transformer(self)

    def forward(
        self,
        src: Tensor,
        pos: Tensor | None,
        reference_points: Tensor,
        spatial_shapes: Shapes,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, S, E) -> (B, S, E); ``pos`` (B or 1, S, E), ``reference_points`` (B or 1, S, L, 2)."""
        return self._encode(Memory(src, spatial_shapes, padding_mask), pos, reference_points)

    def _native(self, memory: Memory, pos: Tensor | None, reference_points: Tensor) -> Tensor:
        config = self.config.native
        return _dsct.encoder_layer(config, self.tensors(), self.training, memory, pos, reference_points)

    @pair(native=_native)
    def _encode(self, memory: Memory, pos: Tensor | None, reference_points: Tensor) -> Tensor:
        query = memory.src if pos is None else memory.src + pos
        attended = self.self_attn.attend(query, reference_points, memory)
        src = self.norm1(memory.src + self._dropout(attended))
        return self.norm2(src + self._dropout(self.linear2(self._dropout(self.linear1(src).relu()))))  # type: ignore[no-any-return]

    def _dropout(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.config.dropout, self.training)


class DeformableEncoder(nn.Module):
    """``enc_layers`` layers of :class:`DeformableEncoderLayer`.

    Attributes:
        activation_checkpointing: in training each layer stores only its input and is computed again in the backward
            pass.

    Example:
        >>> import torch, dsct
        >>> encoder = dsct.DeformableEncoder(dsct.DSCTConfig.tiny())
        >>> src, shapes = torch.randn(1, 16 + 4 + 1 + 1, 64), [(4, 4), (2, 2), (1, 1), (1, 1)]
        >>> encoder(src, shapes, None, torch.ones(1, 4, 2)).shape
        torch.Size([1, 22, 64])
    """

    activation_checkpointing: bool = False

    def __init__(self, config: DSCTConfig) -> None:
        super().__init__()
        require_config(config, "DeformableEncoder")
        self.layers = nn.ModuleList(DeformableEncoderLayer(config) for _ in range(config.enc_layers))

    def forward(
        self,
        src: Tensor,
        spatial_shapes: Tensor | Sequence[Sequence[int]],
        level_start_index: Tensor | Sequence[int] | None,
        valid_ratios: Tensor,
        pos: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Encodes the flattened levels.

        Args:
            src: (B, S, E).
            spatial_shapes: (L, 2) as (height, width).
            level_start_index: (L,), checked against ``spatial_shapes``.
            valid_ratios: (B or 1, L, 2) as (width, height), the unpadded part of each level.
            pos: (B or 1, S, E), added to queries and keys.
            padding_mask: (B, S) bool, True = padding.

        Returns:
            (B, S, E).

        Raises:
            ValueError: shapes do not fit; the message names the argument.
        """
        shapes = level_shapes(spatial_shapes, "DeformableEncoder")
        check_level_start_index(level_start_index, shapes, "DeformableEncoder")
        if isinstance(src, Tensor) and src.dim() != 3:
            raise ValueError(f"DeformableEncoder: src must be (B, S, E), got {tuple(src.shape)}")
        reference_points = encoder_reference_points(shapes, valid_ratios)
        for layer in self.layers:
            arguments = (src, pos, reference_points, shapes, padding_mask)
            src = recomputed(layer, *arguments) if self.activation_checkpointing else layer(*arguments)
        return src
