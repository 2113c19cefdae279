"""Model configuration: one field per switch of the paper's tables (spec in the README)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

EMOTIC_CLASSES = (
    "Affection", "Anger", "Annoyance", "Anticipation", "Aversion", "Confidence", "Disapproval",
    "Disconnection", "Disquietment", "Doubt/Confusion", "Embarrassment", "Engagement", "Esteem",
    "Excitement", "Fatigue", "Fear", "Happiness", "Pain", "Peace", "Pleasure", "Sadness",
    "Sensitivity", "Suffering", "Surprise", "Sympathy", "Yearning",
)  # fmt: skip
CAER_S_CLASSES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")

_TINY: dict[str, Any] = dict(
    backbone="tiny", train_backbone="all", num_classes=7, multi_label=False, class_names=CAER_S_CLASSES,
    num_subject_queries=8, num_context_queries=32, hidden_dim=64, nheads=4, enc_layers=2, dec_layers=2,
    dim_feedforward=128, dropout=0.0, k_spatial=12, k_semantic=6,
)
_OFFICIAL: dict[str, Any] = dict(person_class=True, aggregation="split", semantic_order="highest", spatial_frame="padded")
_CAER_S: dict[str, Any] = dict(num_classes=7, multi_label=False, class_names=CAER_S_CLASSES, num_subject_queries=9)


@dataclass(frozen=True)
class DSCTConfig:
    backbone: str = "resnet50"
    train_backbone: str = "layers2-4"
    num_classes: int = 26
    multi_label: bool = True
    person_class: bool = False
    class_names: tuple[str, ...] | None = None
    num_subject_queries: int = 4
    num_context_queries: int = 300
    hidden_dim: int = 256
    nheads: int = 8
    enc_layers: int = 6
    dec_layers: int = 6
    dim_feedforward: int = 1024
    dropout: float = 0.1
    num_feature_levels: int = 4
    enc_n_points: int = 4
    dec_n_points: int = 4
    selection: tuple[str, ...] = ("spatial", "semantic")
    k_spatial: int = 100
    k_semantic: int = 50
    semantic_order: str = "lowest"
    spatial_frame: str = "valid"
    aggregation: str = "union"
    reweighting: str = "semantic"
    fusion_layers: tuple[int, ...] | None = None
    cost_class: float = 2.0
    cost_bbox: float = 5.0
    cost_giou: float = 2.0
    loss_class: float = 5.0
    loss_bbox: float = 5.0
    loss_giou: float = 2.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    score: str = "probability"

    def __post_init__(self) -> None:
        for name in ("selection", "fusion_layers", "class_names"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.class_names is None:
            known = {(26, True): EMOTIC_CLASSES, (7, False): CAER_S_CLASSES}
            names = known.get((self.num_classes, self.multi_label)) or tuple(f"class {i}" for i in range(self.num_classes))
            object.__setattr__(self, "class_names", names)

    @property
    def num_logits(self) -> int:
        return self.num_classes + self.person_class

    @classmethod
    def paper_emotic(cls, **overrides: Any) -> DSCTConfig:
        return cls(**overrides)

    @classmethod
    def paper_caer_s(cls, **overrides: Any) -> DSCTConfig:
        return cls(**{**_CAER_S, **overrides})

    @classmethod
    def official_emotic(cls, **overrides: Any) -> DSCTConfig:
        return cls(**{**_OFFICIAL, **overrides})

    @classmethod
    def official_caer_s(cls, **overrides: Any) -> DSCTConfig:
        return cls(**{**_OFFICIAL, **_CAER_S, "loss_class": 9.0, "fusion_layers": (), **overrides})

    @classmethod
    def tiny(cls, **overrides: Any) -> DSCTConfig:
        return cls(**{**_TINY, **overrides})

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> DSCTConfig:
        return cls(**json.loads(text))
