"""The complete model (paper, Fig. 3)."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig, require_config
from dsct.modules.backbone import Backbone
from dsct.modules.block import Block, coordinate_dtype, pair
from dsct.modules.decoder import DSCTDecoder, Trace
from dsct.modules.encoder import DeformableEncoder
from dsct.modules.heads import BoxEmbed, class_embed, heads
from dsct.modules.input_projection import InputProjection
from dsct.modules.position_encoding import flatten_levels
from dsct.modules.shared_module_list import SharedModuleList

Output = dict[str, Any]


class ReferencePoints(Block):
    """Reference points of the queries: sigmoid(Linear(position half)), the same for every image and layer."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, hidden_dim))
        self.bias = nn.Parameter(torch.zeros(2))
        nn.init.xavier_uniform_(self.weight)

    def _native(self, query_pos: Tensor) -> Tensor:
        return _dsct.reference_points(self.tensors(), query_pos)

    @pair(native=_native)
    def forward(self, query_pos: Tensor) -> Tensor:
        """(B, Q, E) -> (B, Q, 2) in [0, 1]."""
        points = nn.functional.linear(query_pos, self.weight, self.bias)
        return points.to(coordinate_dtype(points.dtype)).sigmoid()


class Transformer(nn.Module):
    """Encoder, decoder, level embedding and reference points, under the checkpoint's names."""

    def __init__(self, config: DSCTConfig) -> None:
        super().__init__()
        self.encoder = DeformableEncoder(config)
        self.decoder = DSCTDecoder(config)
        self.level_embed = nn.Parameter(torch.randn(config.num_feature_levels, config.hidden_dim))
        self.reference_points = ReferencePoints(config.hidden_dim)


class DSCT(nn.Module):
    """Decoupled Subject-Context Transformer: finds every person in an image and the emotions each shows.

    Building a model downloads nothing. State-dict names are those of the released code.

    Args:
        config: configuration; None is :meth:`DSCTConfig.paper_emotic`.
        backbone: a module that maps images (B, 3, H, W) to three feature maps, finest first, and has their
            channels as ``num_channels``; None builds the one that ``config.backbone`` names.

    Example:
        >>> import torch, dsct
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny()).eval()
        >>> out = model(torch.randn(1, 3, 96, 128))
        >>> out["pred_boxes"].shape[-1]
        4
    """

    preprocess: dict[str, Any] | None = None
    """How ``predict`` resizes: ``short_side`` and ``long_side`` in pixels; None is the paper's 800 and 1333."""
    thresholds: list[float] | None = None
    """Fitted per-class thresholds of a multi-label model; None is 0.5. Both are stored with the weights."""

    def __init__(self, config: DSCTConfig | None = None, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config = require_config(config if config is not None else DSCTConfig(), "DSCT")
        if backbone is None and config.backbone == "custom":
            raise ValueError("DSCT: backbone must be a module when config.backbone is 'custom', got None")
        body: Any = backbone if backbone is not None else Backbone(config.backbone, config.train_backbone)
        self.backbone = nn.ModuleList([body])
        self.input_proj = InputProjection(tuple(body.num_channels), config)
        self.transformer = Transformer(config)
        width = 2 * config.hidden_dim
        if config.num_context_queries > 0:
            self.query_embed = _embedding(config.num_context_queries, width)
        self.query_embed_dsct = _embedding(config.num_subject_queries, width)
        # One head of each kind, listed once per decoder layer because the checkpoints do.
        self.class_embed_dsct = SharedModuleList([class_embed(config)] * config.dec_layers)
        self.bbox_embed_dsct = SharedModuleList([BoxEmbed(config.hidden_dim)] * config.dec_layers)

    @overload
    def forward(self, images: Tensor, mask: Tensor | None = None, return_trace: Literal[False] = False) -> Output: ...
    @overload
    def forward(
        self, images: Tensor, mask: Tensor | None = None, *, return_trace: Literal[True]
    ) -> tuple[Output, list[Trace]]: ...
    def forward(
        self, images: Tensor, mask: Tensor | None = None, return_trace: bool = False
    ) -> Output | tuple[Output, list[Trace]]:
        """Predicts N subjects per image.

        Args:
            images: (B, 3, H, W), ImageNet-normalised, in the parameters' dtype (or float32 under autocast).
            mask: (B, H, W) bool, True = padding; None = no padding.
            return_trace: also return one dict per decoder layer: ``reference_points`` (B, Q, 2),
                ``sampling_locations`` (B, Q, M, L, P, 2), ``attention_weights`` (B, Q, M, L, P), and where the layer
                fuses ``spatial_indices`` (B, N, K_sp), ``semantic_indices`` (B, N, K_sm), ``context_weights``
                (B, N, K), else None.

        Returns:
            ``pred_logits`` (B, N, C or C + 1), ``pred_boxes`` (B, N, 4) as cx cy w h in [0, 1] of the unpadded image,
            ``aux_outputs``: the same two of each earlier decoder layer.

        Raises:
            ValueError: ``images`` or ``mask`` has the wrong shape, or they are on different devices.
            TypeError: ``images`` is not a floating-point tensor, or ``mask`` is not bool.
        """
        _check_images(images, mask)
        maps = self.input_proj(list(self.backbone[0](images)))
        transformer = self.transformer
        src, pos, padding, shapes, valid_ratios = flatten_levels(maps, mask, transformer.level_embed)
        memory = transformer.encoder(src, shapes, None, valid_ratios, pos, padding)

        query_pos, tgt = self._queries().expand(images.shape[0], -1, -1).chunk(2, dim=-1)
        reference_points = transformer.reference_points(query_pos)
        # Passed only on demand, so that any decoder with Deformable DETR's call can be used here.
        wanted = {"return_trace": True} if return_trace else {}
        hidden, _, *trace = transformer.decoder(
            tgt, reference_points, memory, shapes, None, valid_ratios, query_pos, padding, **wanted
        )
        context = self.config.num_context_queries
        logits, boxes = self._predict(hidden[:, :, context:], reference_points[:, context:])
        layers = [{"pred_logits": logit, "pred_boxes": box} for logit, box in zip(logits, boxes, strict=True)]
        output: Output = {**layers[-1], "aux_outputs": layers[:-1]}
        return (output, trace[0]) if return_trace else output

    def get_submodule(self, target: str) -> nn.Module:
        """As ``nn.Module`` has it, and the shared heads under each of their names in the state dict."""
        name, *path = target.split(".")
        heads = self._modules.get(name)
        if isinstance(heads, SharedModuleList) and path and path[0] in map(str, range(len(heads))):
            return heads[int(path[0])].get_submodule(".".join(path[1:]))
        return super().get_submodule(target)

    def set_activation_checkpointing(self, on: bool = True) -> None:
        """Encoder and decoder layers store only their input and compute the rest again in the backward pass.

        Outputs and gradients stay the same; memory falls and the backward pass takes longer.
        """
        self.transformer.encoder.activation_checkpointing = on
        self.transformer.decoder.activation_checkpointing = on

    def _queries(self) -> Tensor:
        """(1, Q, 2E): context rows, then subject rows."""
        subject = self.query_embed_dsct.weight
        if self.config.num_context_queries > 0:
            subject = torch.cat((self.query_embed.weight, subject))
        return subject[None]

    def _predict(self, subject: Tensor, reference_points: Tensor) -> tuple[Tensor, Tensor]:
        """Heads on (dec_layers, B, N, E); one call where all layers share their heads."""
        pairs = list(zip(self.class_embed_dsct, self.bbox_embed_dsct, strict=True))
        if all(pair[0] is pairs[0][0] and pair[1] is pairs[0][1] for pair in pairs):
            return heads(*pairs[0], subject, reference_points)
        layers = [heads(*pair, hidden, reference_points) for pair, hidden in zip(pairs, subject, strict=True)]
        logits, boxes = zip(*layers, strict=True)
        return torch.stack(logits), torch.stack(boxes)


def _embedding(rows: int, width: int) -> nn.Embedding:
    """N(0, 1) rows; also for no rows, which ``nn.Embedding`` would warn about."""
    return nn.Embedding(rows, width, _weight=torch.randn(rows, width))


def _check_images(images: Tensor, mask: Tensor | None) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        got = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"DSCT: images must be a floating-point tensor, got {got}")
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"DSCT: images must be (B, 3, H, W), got {tuple(images.shape)}")
    expected = (images.shape[0], images.shape[2], images.shape[3])
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool):
        raise TypeError(f"DSCT: mask must be bool, got {getattr(mask, 'dtype', type(mask).__name__)}")
    if mask is not None and tuple(mask.shape) != expected:
        raise ValueError(f"DSCT: mask must be (B, H, W) = {expected}, got {tuple(mask.shape)}")
    if mask is not None and mask.device != images.device:
        raise ValueError(f"DSCT: mask must be on {images.device} like images, got {mask.device}")
