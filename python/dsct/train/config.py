"""Training configuration: the recipe of the paper (§4.1, App. C) and of the released code as presets."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from dsct.data.transforms import (
    CROP_FROM,
    CROP_SIDES,
    SHORT_SIDE,
    SHORT_SIDES,
    Transform,
    evaluation_transform,
    flip_transform,
    training_transform,
)
from dsct.json_text import parse_json_object
from dsct.modules.precision import PRECISIONS

#: What a field may be.
CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": ("step", "cosine"),
    "optimizer": ("adamw", "adam"),
    "precision": PRECISIONS,
    "batching": ("shuffled", "aspect_ratio"),
    "augmentation": ("multi_scale", "flip", "none"),
    "select_by": ("official", "paper", "detection"),
    "on_error": ("stop", "skip"),
    "class_weights": ("none", "inverse", "effective_number"),
}
MOST_SEED = 2**63 - 1
#: Of every other number.
MOST = 2**31 - 1
#: The least value of a number.
LEAST = {
    "lr": 0, "epochs": 1, "batch_size": 1, "lr_drop": 1, "log_every": 1, "warmup_steps": 0, "workers": 0, "seed": 0,
    "weight_decay": 0, "clip": 0, "lr_backbone_mult": 0, "lr_linear_proj_mult": 0, "accumulation": 1,
    "lr_batch_size": 0, "early_stop": 0, "save_every": 0, "ema": 0, "short_side": 0, "long_side": 1,
    "repeat_threshold": 0,
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. The defaults are the released code's recipe for EMOTIC.

    Attributes:
        epochs: passes over the training data.
        batch_size: images per optimizer step, of all processes and micro-batches together.
        accumulation: micro-batches into which a process divides its part of a batch: less memory, the same step.
        lr: learning rate of everything that has no factor of its own.
        lr_batch_size: the batch size for which `lr` is given; the rate grows in proportion. 0: `lr` as it is.
        lr_backbone_mult: factor on `lr` for the backbone.
        lr_linear_proj_mult: factor on `lr` for the layers that place reference and sampling points.
        weight_decay: on every parameter.
        optimizer: ``"adamw"`` (released code) or ``"adam"`` (the paper).
        clip: maximum gradient norm; 0 switches clipping off.
        schedule: ``"step"``: lr × 0.1 from epoch `lr_drop` on; ``"cosine"``: half a cosine down to 0 at the end.
        lr_drop: epochs before the step of the ``"step"`` schedule.
        warmup_steps: optimizer steps during which lr rises linearly to its schedule.
        precision: ``"float32"``, or the autocast type ``"bfloat16"`` or ``"float16"`` (with loss scaling). Weights,
            losses and optimizer stay in float32.
        activation_checkpointing: encoder and decoder layers store only their input and are computed twice.
        ema: decay of the moving average of the weights, which is then validated and saved as best; 0: none.
        augmentation: ``"multi_scale"``: the paper's flips, short sides and crops, in proportion to `short_side`;
            ``"flip"``: only the horizontal flip; ``"none"``.
        short_side: short side of the images in evaluation, and the largest in training, in pixels; 0: no resizing.
        long_side: the long side of an image is never longer, in pixels.
        batching: ``"shuffled"``, or ``"aspect_ratio"``: images of similar shape share a batch, for less padding.
        class_weights: what it costs to miss a class: ``"none"``: the same for all; ``"inverse"`` to its number of
            people; ``"effective_number"``, milder (Cui 2019); or one number per class. Validation losses are weighted,
            too.
        repeat_threshold: images with a class that a smaller share of images shows than this are repeated in an epoch,
            by the square root of the ratio (Gupta 2019), such as 0.1. Epochs become longer; 0: no image is repeated.
        on_error: ``"stop"`` at an image that cannot be read, or ``"skip"``: all images are opened once before training,
            and those that cannot be read are left out, counted and named.
        early_stop: training ends after this many epochs without improvement on validation data; 0: never.
        save_every: ``last.pt`` is written after epochs and every `save_every` optimizer steps; 0: only after epochs.
        seed: for initial weights, order, augmentation and dropout.
        workers: processes that load images; 0 loads in the main process. The result does not depend on it.
        log_every: optimizer steps between two lines of the step log.
        select_by: protocol whose headline value on validation data chooses the best epoch.

    Raises:
        TypeError: a number has the wrong type; the message names the field.
        ValueError: a value is out of range; the message names the field.

    Example:
        >>> TrainConfig.official_caer_s(epochs=10).lr
        2e-05
    """

    epochs: int = 50
    batch_size: int = 4
    accumulation: int = 1
    lr: float = 2e-4
    lr_batch_size: int = 0
    lr_backbone_mult: float = 0.1
    lr_linear_proj_mult: float = 0.1
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    clip: float = 0.1
    schedule: str = "step"
    lr_drop: int = 40
    warmup_steps: int = 0
    precision: str = "float32"
    activation_checkpointing: bool = False
    ema: float = 0.0
    augmentation: str = "multi_scale"
    short_side: int = 800
    long_side: int = 1333
    batching: str = "shuffled"
    class_weights: str | tuple[float, ...] = "none"
    repeat_threshold: float = 0.0
    on_error: str = "stop"
    early_stop: int = 0
    save_every: int = 500
    seed: int = 42
    workers: int = 2
    log_every: int = 50
    select_by: str = "official"

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"TrainConfig: {name} must be a number, got {value!r}")
            if isinstance(value, float) and isinstance(getattr(type(self), name), int):  # the default
                raise ValueError(f"TrainConfig: {name} must be an integer, got {value}")
            if not value >= least:
                raise ValueError(f"TrainConfig: {name} must be at least {least}, got {value}")
            if isinstance(value, float) and math.isinf(value):
                raise ValueError(f"TrainConfig: {name} must be finite, got {value}")
            most = MOST_SEED if name == "seed" else MOST
            if value > most:
                got = str(value) if len(str(value)) < 40 else "a larger one"
                raise ValueError(f"TrainConfig: {name} must be at most {most}, got {got}")
        if not isinstance(self.activation_checkpointing, bool):
            raise TypeError(
                f"TrainConfig: activation_checkpointing must be true or false, got {self.activation_checkpointing!r}"
            )
        if not self.lr:
            raise ValueError(f"TrainConfig: lr must be positive, got {self.lr}")
        if self.long_side <= self.short_side:
            raise ValueError(
                f"TrainConfig: long_side must exceed short_side, got {self.long_side} and {self.short_side}"
            )
        if self.augmentation == "multi_scale" and not self.short_side:
            raise ValueError("TrainConfig: short_side must be given for multi_scale augmentation, got 0")
        if not self.ema < 1:
            raise ValueError(f"TrainConfig: ema must be below 1, such as 0.9998, got {self.ema}")
        if not self.repeat_threshold < 1:
            raise ValueError(
                f"TrainConfig: repeat_threshold must be a share of the images, below 1, got {self.repeat_threshold}"
            )
        if not isinstance(self.class_weights, str):
            object.__setattr__(self, "class_weights", _numbers(self.class_weights))
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known and not (name == "class_weights" and isinstance(value, tuple)):
                raise ValueError(f"TrainConfig: {name} must be one of {', '.join(known)}, got {value!r}")

    @property
    def base_lr(self) -> float:
        """The learning rate of everything without a factor, for this batch size."""
        return self.lr * (self.batch_size / self.lr_batch_size if self.lr_batch_size else 1.0)

    def training_transform(self) -> Transform:
        """The transform of training images."""
        if self.augmentation == "none":
            return self.evaluation_transform()
        if self.augmentation == "flip":
            return flip_transform(self.short_side or None, self.long_side)
        scale = self.short_side / SHORT_SIDE
        return training_transform(
            [round(side * scale) for side in SHORT_SIDES],
            self.long_side,
            [round(side * scale) for side in CROP_FROM],
            (round(CROP_SIDES[0] * scale), round(CROP_SIDES[1] * scale)),
        )

    def evaluation_transform(self) -> Transform:
        """The transform of images in evaluation, and later in prediction."""
        return evaluation_transform(self.short_side or None, self.long_side)

    @property
    def preprocess(self) -> dict[str, int | None]:
        """What the model stores about it: its ``preprocess``."""
        return {"short_side": self.short_side or None, "long_side": self.long_side}

    @classmethod
    def paper_emotic(cls, **overrides: Any) -> TrainConfig:
        """The paper's recipe: batches of 32."""
        return cls(**{"batch_size": 32, **overrides})

    @classmethod
    def paper_caer_s(cls, **overrides: Any) -> TrainConfig:
        """The paper's recipe, the same for both data sets."""
        return cls.paper_emotic(**overrides)

    @classmethod
    def official_emotic(cls, **overrides: Any) -> TrainConfig:
        """The released code's recipe: the defaults."""
        return cls(**overrides)

    @classmethod
    def official_caer_s(cls, **overrides: Any) -> TrainConfig:
        """The released code's recipe: a tenth of the learning rate."""
        return cls(**{"lr": 2e-5, **overrides})

    @classmethod
    def tiny(cls, **overrides: Any) -> TrainConfig:
        """For the demo: a small model from scratch, everything at the same learning rate."""
        tiny: dict[str, Any] = {
            "epochs": 7, "batch_size": 8, "lr": 1e-3, "lr_backbone_mult": 1.0, "lr_linear_proj_mult": 1.0,
            "schedule": "cosine", "warmup_steps": 100, "workers": 0, "log_every": 20, "seed": 0,
            "augmentation": "flip", "short_side": 0,
        }  # fmt: skip
        return cls(**{**tiny, **overrides})

    def to_json(self) -> str:
        """All fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: the text is not JSON, or a field is unknown or out of range.
            TypeError: a field has another type.
        """
        fields = parse_json_object(text, "TrainConfig")
        if unknown := sorted(fields.keys() - {field.name for field in dataclasses.fields(cls)}):
            raise ValueError(f"TrainConfig: unknown fields {unknown}")
        return cls(**fields)


def _numbers(class_weights: Any) -> tuple[float, ...]:
    try:
        return tuple(float(weight) for weight in class_weights)
    except (TypeError, ValueError):
        raise TypeError(
            f"TrainConfig: class_weights must be one of {', '.join(CHOICES['class_weights'])}, or one number per "
            f"class, got {class_weights!r}"
        ) from None
