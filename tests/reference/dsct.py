"""The whole model: backbone, input projection, encoder, queries, decoder, heads (paper, section 3.1, Fig. 3)."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .backbone import Backbone
from .decoder import DSCTDecoder
from .deform_attn import MSDeformAttn
from .encoder import DeformableEncoder
from .position_encoding import level_mask, sine_position_encoding, valid_ratio
from .relational_aggregation import Trace

if TYPE_CHECKING:
    from dsct.config import DSCTConfig


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """log(x / (1 - x)) with numerator and denominator at least ``eps``, for x in [0, 1]."""
    return (x.clamp(min=eps) / (1 - x).clamp(min=eps)).log()


class MLP(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, hidden_dim: int, outputs: int) -> None:
        super().__init__()
        sizes = (hidden_dim, hidden_dim, hidden_dim, outputs)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden_dim) to (..., outputs)."""
        first, second, third = self.layers
        hidden: Tensor = second(first(x).relu()).relu()
        output: Tensor = third(hidden)
        return output


class Transformer(nn.Module):
    """Encoder and decoder with the learned level embedding and the layer that reads off reference points."""

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        self.encoder = DeformableEncoder(cfg)
        self.decoder = DSCTDecoder(cfg)
        self.level_embed = nn.Parameter(torch.empty(cfg.num_feature_levels, cfg.hidden_dim))
        self.reference_points = nn.Linear(cfg.hidden_dim, 2)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, MSDeformAttn):
                module.reset_parameters()
        nn.init.zeros_(self.reference_points.bias)
        nn.init.normal_(self.level_embed)

    def forward(self, maps: list[Tensor], masks: list[Tensor], queries: Tensor) -> tuple[Tensor, Tensor, list[Trace]]:
        """From projected maps and queries to decoded queries.

        Args:
            maps: L maps (B, E, H_l, W_l).
            masks: L masks (B, H_l, W_l) bool, True = padding.
            queries: (Q, 2 * E), position half then content half.

        Returns:
            The output of each decoder layer (dec_layers, B, Q, E), reference points (B, Q, 2) and the traces.
        """
        batch, channels = maps[0].shape[:2]
        shapes = [(m.shape[2], m.shape[3]) for m in maps]
        src = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        padding = torch.cat([m.flatten(1) for m in masks], dim=1)
        ratios = torch.stack([valid_ratio(m, src.dtype) for m in masks], dim=1)
        positions = [sine_position_encoding(m, channels, src.dtype).flatten(2).transpose(1, 2) for m in masks]
        pos = torch.cat([p + embed for p, embed in zip(positions, self.level_embed, strict=True)], dim=1)
        memory = self.encoder(src, shapes, ratios, pos, padding)

        query_pos, content = (half.expand(batch, -1, -1) for half in queries.chunk(2, dim=-1))
        reference_points = self.reference_points(query_pos).sigmoid()
        decoded, traces = self.decoder(content, reference_points, memory, shapes, ratios, query_pos, padding)
        return decoded, reference_points, traces


class DSCT(nn.Module):
    """Decoupled subject-context transformer.

    Args:
        cfg: configuration.
        backbone: any module that turns images (B, 3, H, W) into a list of maps, finest first, and tells their channels
            in ``num_channels``; None builds the one that ``cfg`` names.
    """

    def __init__(self, cfg: DSCTConfig, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        body: Any = Backbone(cfg) if backbone is None else backbone
        self.backbone = nn.Sequential(body)
        self.input_proj = input_projections(body.num_channels, cfg)
        self.transformer = Transformer(cfg)
        if cfg.num_context_queries > 0:
            self.query_embed = nn.Embedding(cfg.num_context_queries, 2 * cfg.hidden_dim)
        self.query_embed_dsct = nn.Embedding(cfg.num_subject_queries, 2 * cfg.hidden_dim)

        class_head = nn.Linear(cfg.hidden_dim, cfg.num_classes + cfg.person_class)
        nn.init.constant_(class_head.bias, -math.log(99.0))  # every class starts at probability 0.01
        box_head = MLP(cfg.hidden_dim, 4)
        last_layer = box_head.layers[-1]
        assert isinstance(last_layer, nn.Linear)
        nn.init.zeros_(last_layer.weight)
        with torch.no_grad():
            last_layer.bias.copy_(torch.tensor((0.0, 0.0, -2.0, -2.0)))
        # One head of each kind, listed once per decoder layer because the checkpoints do.
        self.class_embed_dsct = nn.ModuleList([class_head] * cfg.dec_layers)
        self.bbox_embed_dsct = nn.ModuleList([box_head] * cfg.dec_layers)

    def forward(
        self, images: Tensor, mask: Tensor | None = None, return_trace: bool = False
    ) -> dict[str, Any] | tuple[dict[str, Any], list[Trace]]:
        """Predict N subjects per image.

        Args:
            images: (B, 3, H, W), ImageNet-normalised, in the dtype of the parameters.
            mask: (B, H, W) bool, True = padding; None = no padding.
            return_trace: also return, per decoder layer, ``reference_points`` (B, Q, 2), ``sampling_locations``
                (B, Q, M, L, P, 2), ``attention_weights`` (B, Q, M, L, P), ``spatial_indices`` (B, N, K_sp),
                ``semantic_indices`` (B, N, K_sm) and ``context_weights`` (B, N, K).

        Returns:
            ``pred_logits`` (B, N, C or C + 1), ``pred_boxes`` (B, N, 4) and ``aux_outputs``, the same two of each
            earlier decoder layer.

        Raises:
            ValueError: ``images`` is not (B, 3, H, W) or ``mask`` not (B, H, W).
        """
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"DSCT: images must be (B, 3, H, W), got {tuple(images.shape)}")
        pixels = (images.shape[0], images.shape[2], images.shape[3])
        if mask is None:
            mask = torch.zeros(pixels, dtype=torch.bool, device=images.device)
        if mask.shape != pixels:
            raise ValueError(f"DSCT: mask must be (B, H, W) = {pixels}, got {tuple(mask.shape)}")

        maps = self.project(self.backbone(images))
        masks = [level_mask(mask, m.shape[2], m.shape[3]) for m in maps]
        queries = self.query_embed_dsct.weight
        if self.cfg.num_context_queries > 0:
            queries = torch.cat((self.query_embed.weight, queries))
        decoded, reference_points, traces = self.transformer(maps, masks, queries)

        layers = [self.predict(i, hidden, reference_points) for i, hidden in enumerate(decoded)]
        output = {**layers[-1], "aux_outputs": layers[:-1]}
        return (output, traces) if return_trace else output

    def project(self, features: list[Tensor]) -> list[Tensor]:
        """Maps of the backbone to L maps (B, E, H_l, W_l); levels beyond the backbone's shrink the last one by 2."""
        used = features[-self.cfg.num_feature_levels :]
        maps: list[Tensor] = []
        for level, projection in enumerate(self.input_proj):
            # The first extra level starts at the backbone's own map, later ones at the level before.
            sources = [*used, used[-1], *maps[len(used) :]]
            maps.append(projection(sources[level]))
        return maps

    def predict(self, layer: int, hidden: Tensor, reference_points: Tensor) -> dict[str, Tensor]:
        """Heads on the subjects of one decoder layer: hidden (B, Q, E), reference points (B, Q, 2)."""
        subject = hidden[:, self.cfg.num_context_queries :]
        reference = reference_points[:, self.cfg.num_context_queries :]
        centre, size = self.bbox_embed_dsct[layer](subject).split(2, dim=-1)
        boxes = torch.cat((centre + inverse_sigmoid(reference), size), dim=-1).sigmoid()
        return {"pred_logits": self.class_embed_dsct[layer](subject), "pred_boxes": boxes}


def input_projections(num_channels: list[int], cfg: DSCTConfig) -> nn.ModuleList:
    """One projection to E channels per level: 1x1 on the backbone's maps, then 3x3 of stride 2; each with group norm.

    Fewer levels than maps use the last, coarsest maps.
    """
    used = num_channels[-cfg.num_feature_levels :]
    projections = []
    for level in range(cfg.num_feature_levels):
        if level < len(used):
            convolution = nn.Conv2d(used[level], cfg.hidden_dim, kernel_size=1)
        else:
            inputs = used[-1] if level == len(used) else cfg.hidden_dim
            convolution = nn.Conv2d(inputs, cfg.hidden_dim, kernel_size=3, stride=2, padding=1)
        nn.init.xavier_uniform_(convolution.weight)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
        projections.append(nn.Sequential(convolution, nn.GroupNorm(32, cfg.hidden_dim)))
    return nn.ModuleList(projections)
