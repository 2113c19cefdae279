"""What a model consists of: parameters, multiply-adds for an image, input size, classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from dsct.checkpoint import load_model
from dsct.config import DSCTConfig
from dsct.modules import DSCT
from dsct.modules.evaluating import evaluation_view
from dsct.prediction.model_input import resize_sides

#: Parts of a model, by the beginning of the names of their parameters.
PARTS = {
    "backbone": ("backbone.",),
    "input projection": ("input_proj.",),
    "encoder": ("transformer.encoder.", "transformer.level_embed"),
    "queries": ("query_embed.", "query_embed_dsct.", "transformer.reference_points."),
    "decoder": ("transformer.decoder.",),
    "heads": ("class_embed_dsct.", "bbox_embed_dsct."),
}
#: The modules that compute them; queries are tables and one small layer.
_MODULES = {
    "backbone": "backbone.0",
    "input projection": "input_proj",
    "encoder": "transformer.encoder",
    "decoder": "transformer.decoder",
}
_SAMPLE = 5  # multiply-adds for each channel that is sampled: four corners and the attention weight


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes:
        name: one of `PARTS`.
        parameters: numbers that can be trained, each once where layers share them; frozen batch norms have none.
        trainable: those that training changes.
        multiply_adds: for one image; those of the queries, which are few, are with the heads.
    """

    name: str
    parameters: int
    trainable: int
    multiply_adds: int


@dataclass(frozen=True)
class ModelSummary:
    """What a model consists of; ``print`` shows it as a table.

    Attributes:
        parts: the parts of the model.
        image_size: (width, height) in pixels of the resized image for which multiply-adds are counted.
        sides: short and long side to which images are resized; a short side of None keeps sizes.
        thresholds: fitted per-class thresholds, or None.
        config: everything else.

    Example:
        >>> import dsct
        >>> found = summary(dsct.DSCT(dsct.DSCTConfig.tiny()), image_size=(128, 96))
        >>> found.parameters == sum(part.parameters for part in found.parts) > found.trainable - 1
        True
    """

    parts: tuple[Part, ...]
    image_size: tuple[int, int]
    sides: tuple[int | None, int]
    thresholds: list[float] | None
    config: DSCTConfig

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(part.parameters for part in self.parts)

    @property
    def trainable(self) -> int:
        """The number of those that training changes."""
        return sum(part.trainable for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        """Of convolutions, matrix products and attention, for one image of `image_size`."""
        return sum(part.multiply_adds for part in self.parts)

    @property
    def flops(self) -> int:
        """Floating-point operations: two for each multiply-add."""
        return 2 * self.multiply_adds

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, for JSON."""
        return {
            "parameters": self.parameters,
            "trainable": self.trainable,
            "multiply_adds": self.multiply_adds,
            "flops": self.flops,
            "image_size": list(self.image_size),
            "parts": {part.name: _without_name(part) for part in self.parts},
            "short_side": self.sides[0],
            "long_side": self.sides[1],
            "class_names": list(self.config.names),
            "multi_label": self.config.multi_label,
            "thresholds": self.thresholds,
            "config": self.config.to_dict(),
        }

    def __str__(self) -> str:
        rows = [(part.name, part.parameters, part.trainable, part.multiply_adds) for part in self.parts]
        rows.append(("all", self.parameters, self.trainable, self.multiply_adds))
        width, height = self.image_size
        return "\n".join([
            f"{'':<17}{'parameters':>12}{'trainable':>12}{'GMAC':>10}",
            *(f"{name:<17}{count:>12,}{trained:>12,}{macs / 1e9:>10.3f}" for name, count, trained, macs in rows),
            f"GMAC: 10⁹ multiply-adds for one image of {width} x {height}, {self.flops / 1e9:.2f} GFLOP",
        ])  # fmt: skip


def summary(model: DSCT | str | os.PathLike[str], image_size: tuple[int, int] | None = None) -> ModelSummary:
    """Counts what a model consists of, without running it.

    Args:
        model: a model, or the path of a file that `dsct.load_model` reads.
        image_size: (width, height) in pixels of the image for which to count; None takes a photograph of 4:3 resized
            as the model resizes.

    Raises:
        TypeError: `model` is something else.
        ValueError: `image_size` is not two sides of at least 32 pixels, or the file cannot be read.
        OSError: the file cannot be read.

    Example:
        >>> import dsct
        >>> found = summary(dsct.DSCT(dsct.DSCTConfig.tiny()), image_size=(128, 96))
        >>> [part.name for part in found.parts]
        ['backbone', 'input projection', 'encoder', 'queries', 'decoder', 'heads']
    """
    if isinstance(model, str | os.PathLike):
        model = load_model(model)
    if not isinstance(model, DSCT):
        raise TypeError(f"summary: model must be a dsct.DSCT or a path, got {type(model).__name__}")
    sides = resize_sides(model, None, None)
    size = _photograph(*sides) if image_size is None else image_size
    if len(size) != 2 or not all(isinstance(side, int) and side >= 32 for side in size):
        raise ValueError(f"summary: image_size must be width and height of at least 32 pixels, got {size}")
    counted = _multiply_adds(model, size)
    parts = []
    for name, prefixes in PARTS.items():
        inside = [tensor for key, tensor in model.named_parameters() if key.startswith(prefixes)]
        trainable = sum(tensor.numel() for tensor in inside if tensor.requires_grad)
        parts.append(Part(name, sum(tensor.numel() for tensor in inside), trainable, counted.get(name, 0)))
    return ModelSummary(tuple(parts), (size[0], size[1]), sides, model.thresholds, model.config)


def _photograph(short: int | None, long: int) -> tuple[int, int]:
    """Width and height of a photograph of 4:3 after resizing; one of 640 x 480 if its size is kept."""
    height = 480 if short is None else short
    width = height * 4 // 3
    return (width, height) if width <= long else (long, long * 3 // 4)


def _multiply_adds(model: DSCT, size: Sequence[int]) -> dict[str, int]:
    """Multiply-adds by part. Fake tensors pass through the native code too: nothing is computed."""
    parameter = next(model.parameters())
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
        evaluation_view(model)(torch.zeros(1, 3, size[1], size[0], dtype=parameter.dtype, device=parameter.device))
    by_module = {name: sum(counts.values()) // 2 for name, counts in counter.get_flop_counts().items()}
    found = {part: by_module.get(f"DSCT.{module}", 0) for part, module in _MODULES.items()}
    return found | {"heads": by_module["Global"] - sum(found.values())}


def _sampling(value: torch.Size, _shapes: Any, _points: Any, offsets: torch.Size, *_: Any, **__: Any) -> int:
    """Two for each multiply-add, as torch counts; offsets or locations are (B, Q, M, L, P, 2)."""
    return int(2 * _SAMPLE * torch.Size(offsets[:5]).numel() * value[3])


def _plain_sampling(value: torch.Size, _shapes: Any, locations: torch.Size, *_: Any, **__: Any) -> int:
    return _sampling(value, None, None, locations)


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """Queries (B, M, Q, D) with keys (B, M, K, D), and the weights with values of as many channels."""
    return 2 * query.numel() * key[2] + 2 * query[:3].numel() * key[2] * value[3]


#: What torch's counter does not know.
_FORMULAS = {
    torch.ops.dsct.ms_deform_attn_fused: _sampling,
    torch.ops.dsct.ms_deform_attn: _plain_sampling,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


def _without_name(part: Part) -> dict[str, int]:
    return {name: getattr(part, name) for name in ("parameters", "trainable", "multiply_adds")}
